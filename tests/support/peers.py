"""Tests against other packages, which are compared at one release each and installed by the extra ``nightly``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., object])


def needs_peer(*modules: str) -> Callable[[Test], Test]:
    """Mark a test ``nightly`` and skip it where one of the modules is not installed."""
    missing = [name for name in modules if find_spec(name) is None]
    reason = f"needs {', '.join(missing)}: pip install -e '.[dev,nightly]'"

    def mark(test: Test) -> Test:
        return pytest.mark.nightly(pytest.mark.skipif(bool(missing), reason=reason)(test))

    return mark
