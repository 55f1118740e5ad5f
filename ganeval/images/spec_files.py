"""Which files specs name: what reads them must not write there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ganeval.errors import InputError
from ganeval.files import is_stream
from ganeval.images import specs
from ganeval.images.grammar import as_spec


def files_of(*given: object) -> Iterator[Path]:
    """The files that specs name, those within translations too; other objects name no files."""
    for spec in _named(given):
        match spec:
            case specs.Archive() | specs.ArrayFile() | specs.TableFile() | specs.HDF5File():
                yield spec.path
            case specs.OtherFile() | specs.ScriptFile():
                yield spec.path
            case specs.GeneratorFile(path=path):
                yield from (path, path.with_suffix(".safetensors"), path.with_suffix(".json"))
            case specs.ImportedGenerator(module=module):
                yield Path(*module.split(".")).with_suffix(".py")
            case specs.Shards(pattern=pattern):
                yield from map(Path, specs.expand_braces(pattern))


def is_input(path: Path, *given: object) -> bool:
    """Whether an existing file is one that specs name, or an image in a folder that they name, links followed.

    Folders are listed only where the file may be an image, by its suffix or by its first bytes.
    """
    if not path.is_file():
        return False
    here = path.stat()
    files = (file for file in files_of(*given) if not is_stream(file))
    if any(file.exists() and os.path.samestat(here, file.stat()) for file in files):
        return True
    folders = [spec.path for spec in _named(given) if isinstance(spec, specs.Folder)]
    return bool(folders) and _may_be_an_image(path) and any(_holds(folder, here) for folder in folders)


def _named(given: Iterable[object]) -> Iterator[specs.Spec]:
    """The specs among these objects, in place of a translation its model and its source."""
    for spec in map(as_spec, given):
        if isinstance(spec, specs.Translation):
            yield from _named([spec.model, spec.source])
        elif spec is not None:
            yield spec


def _may_be_an_image(path: Path) -> bool:
    from ganeval.images.decode import SUFFIXES, known_format

    if path.name.lower().endswith(SUFFIXES):
        return True
    with suppress(OSError), path.open("rb") as file:
        return known_format(file.read(32))
    return False


def _holds(folder: Path, wanted: os.stat_result) -> bool:
    from ganeval.images.folder import open_folder

    with suppress(InputError):  # a folder without images, or one that cannot be listed: reported when it is opened
        images = open_folder(folder, any_suffix=True)
        for index in range(len(images)):
            with suppress(OSError):
                if os.path.samestat(wanted, images.path(index).stat()):
                    return True
    return False
