"""The page in a browser: no console error and no request, and the same test does find both in a page that has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support.browser import needs_browser, opened

from ganeval.cli.main import main

pytestmark = needs_browser
BROKEN = "<!DOCTYPE html><title>x</title><img src='http://elsewhere.invalid/x.png' alt='x'><script>nothing()</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("browser") / "run.html"
    sets = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "60"]
    options = ["--protocol", "compact", "--metrics", "fid,pr,ind", "--device", "cpu", "-q", "--report", str(target)]
    assert main(["eval", *sets, *options]) == 0
    return target


@pytest.mark.parametrize(("width", "dark"), [(1100, False), (1100, True), (500, False)])
def test_no_console_error_and_no_request(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    said, asked, picture = opened(page, tmp_path, width, dark=dark)
    assert said == []
    assert asked == []
    with Image.open(picture) as image:
        assert image.size == (width, 1600)
        corner = image.convert("L").getpixel((2, 2))
        assert isinstance(corner, (int, float))
        assert (corner < 60) == dark


def test_the_test_finds_both(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(BROKEN, encoding="utf-8")
    said, asked, _ = opened(broken, tmp_path)
    assert any("nothing is not defined" in line for line in said)
    assert any(b"elsewhere.invalid" in what for what in asked)
