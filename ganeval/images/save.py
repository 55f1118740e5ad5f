"""Images of a source to files: a folder of PNG, one zip of them, or one npz; lossless, and the same from every run.

Next to an image that was made of a prompt is a ``.txt`` file of the same name with that prompt, in a folder or a zip.

Nothing in the files depends on the batch size, the time or the machine, but for the compression, which is zlib's.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganeval.errors import InputError, listed, number_of
from ganeval.files import write_text, written_whole
from ganeval.images.decode import END_MARKS
from ganeval.images.folder import MANIFEST
from ganeval.images.types import ImageSource, NumberedSource
from ganeval.images.workers import worker_faults
from ganeval.parsing.documents import MAX_BYTES, Count, DocumentError, parse_json, typed

_SCHEMA = "ganeval-sample/1"
_OURS = re.compile(r"\d{6,}\.(png|txt)")
_UNFINISHED = re.compile(
    r"\.(\d{6,}\.(png|txt)|ganeval-sample\.json)\.[0-9a-f]{8}\.(png|txt|json)"
)  # of a run that was killed
_NO_FOLDERS = (".tar", ".tgz", ".gz", ".npy", ".png", ".jpg", ".jpeg")

_NEGLIGIBLE = (MANIFEST, "Thumbs.db", "desktop.ini")  # our manifest, and what file managers leave behind

Pixels = NDArray[np.uint8]


class _Manifest(msgspec.Struct):
    """``ganeval-sample.json``: what the images are, and how many."""

    schema: Literal["ganeval-sample/1"]
    n: Count
    source: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """What ``save_images`` did.

    Attributes:
        written: images written now.
        kept: images of the same run that were there already.
        others: names in the folder that are not of this run; only with ``overwrite``.
    """

    written: int
    kept: int
    others: tuple[str, ...] = ()


def save_images(
    source: ImageSource,
    output: Path,
    *,
    n: int | None = None,
    overwrite: bool = False,
    batch_size: int = 64,
    workers: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Saved:
    """Write ``n`` images, ``000000.png`` and so on, or one ``.zip`` of them, or one ``.npz`` (``arr_0``, NHWC uint8).

    Prompts are written too, ``000000.txt`` and so on, but not to a ``.npz``.

    A folder is filled image by image; each file is written atomically. A run that was interrupted continues where it
    stopped, and may ask for more images than before: what the folder holds is said by its ``ganeval-sample.json``. An
    archive is written atomically.

    Args:
        source: where image i does not depend on how many there are.
        output: a folder, or a file that ends in .zip or .npz.
        n: how many; all of them where it is left out.
        overwrite: replace another run. Files that are of no run stay.
        batch_size: images drawn at once; changes nothing in the files.
        workers: processes that make the images; changes nothing in the files.
        progress: called with the number of images done since the last call.

    Raises:
        InputError: the folder holds other things, the source has too few images, or sizes that an npz cannot hold.
    """
    n = source.length if n is None else n
    if n is None or n < 1:
        raise InputError(f"{source.spec}: say how many images to write, at least 1; got {n}.")
    if source.length is not None and source.length < n:
        raise InputError(f"{source.spec} has only {number_of(source.length, 'image')}; {n} were requested.")
    run = _Run(source, n, batch_size, workers, progress or (lambda done: None), source.prompts())
    suffix = output.suffix.lower()
    if suffix in (".zip", ".npz"):
        return _save_archive(run, output, _write_zip if suffix == ".zip" else _write_npz, overwrite)
    if suffix in _NO_FOLDERS:
        raise InputError(
            f"Images are written to a folder, a .zip or a .npz; {output} is none of them. Change the suffix."
        )
    return _save_folder(run, output, overwrite)


@dataclass(frozen=True, slots=True)
class _Run:
    source: ImageSource
    n: int
    batch_size: int
    workers: int
    progress: Callable[[int], object]
    prompts: Sequence[str] | None

    def manifest(self) -> str:
        described = {k: v for k, v in self.source.describe().items() if k != "n"}
        return json.dumps({"schema": _SCHEMA, "n": self.n, "source": described}, indent=2, sort_keys=True) + "\n"

    def difference(self, before: _Manifest | None, *, more_is_fine: bool = True) -> str:
        """What differs from the run before, empty where this one may go on with its images."""
        if before is None:
            return f"its {MANIFEST} does not name the run"
        old, new = before.source, json.loads(self.manifest())["source"]
        differ = [f"{k}: {old.get(k)}, now {new.get(k)}" for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
        if not differ and (before.n > self.n or (before.n != self.n and not more_is_fine)):
            differ = [f"n: {before.n}, now {self.n}"]
        return ", ".join(differ)

    def prompt(self, number: int) -> bytes | None:
        """What image ``number`` was made of, where that is a text."""
        return None if self.prompts is None else self.prompts[number].encode()

    def images(self, wanted: list[int]) -> Iterator[tuple[int, Pixels]]:
        """(number, (H, W, 3)) of the wanted ones, which are in increasing order."""
        if not wanted:
            return
        source, numbered = self.source, isinstance(self.source, NumberedSource)
        if isinstance(source, NumberedSource):  # only these are made; of other sources, all are
            source = source.part(wanted)
        numbers = iter(wanted)
        number, drawn = next(numbers), 0
        with worker_faults():
            for batch in source.batches(self.batch_size, workers=self.workers):
                for image in batch.images:
                    if numbered or drawn == number:
                        yield number, np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
                        if (number := next(numbers, -1)) < 0:
                            return
                    drawn += 1
        raise InputError(f"{source.spec} has only {number_of(drawn, 'image')}; {self.n} were requested.")


def _png(image: Pixels) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG", compress_level=6)
    return encoded.getvalue()


# --- folders -----------------------------------------------------------------------------------------------------


def _save_folder(run: _Run, folder: Path, overwrite: bool) -> Saved:
    try:
        present = {path.name for path in folder.iterdir()} if folder.exists() else set[str]()
        others, resumed = _may_be_continued(run, folder, present, overwrite)
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder} is not a folder, or one of its parents is not. Choose another name.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{folder} cannot be read or made: {reason}. Choose another place.") from error
    for name in present.difference(others):
        if _UNFINISHED.fullmatch(name) or (not resumed and _OURS.fullmatch(name)):
            (folder / name).unlink(missing_ok=True)
    write_text(folder / MANIFEST, run.manifest())
    missing = [i for i in range(run.n) if not (resumed and _is_whole(folder / _name(i)) and _has_text(folder, i, run))]
    run.progress(run.n - len(missing))
    for number, image in run.images(missing):
        if (prompt := run.prompt(number)) is not None:  # first, so that no image is without it
            with written_whole(folder / _name(number, "txt")) as temporary:
                temporary.write_bytes(prompt)
        with written_whole(folder / _name(number)) as temporary:
            temporary.write_bytes(_png(image))
        run.progress(1)
    return Saved(len(missing), run.n - len(missing), others)


def _may_be_continued(run: _Run, folder: Path, present: set[str], overwrite: bool) -> tuple[tuple[str, ...], bool]:
    """What else the folder holds, and whether it holds the beginning of this run: if not, all is written anew.

    Without the manifest of a run, images with numbers as names are not of this command.

    Raises:
        InputError: it holds something else, and is not to be overwritten.
    """
    of_a_run = MANIFEST in present
    suffixes = ("png",) if run.prompts is None else ("png", "txt")
    written = {_name(i, suffix) for i in range(run.n) for suffix in suffixes} if overwrite else set[str]()
    others = sorted(
        name
        for name in present - written
        if not (name in _NEGLIGIBLE or name.startswith(".")) and not (of_a_run and _OURS.fullmatch(name))
    )
    if overwrite:
        return tuple(others), False
    advice = "Choose another folder, or replace the images in it with --overwrite."
    if others:
        raise InputError(f"{folder} holds other things ({listed(others)}): nothing was written. {advice}")
    if not of_a_run:
        return (), False
    before = _read_manifest((folder / MANIFEST).read_text(encoding="utf-8", errors="replace"))
    if difference := run.difference(before):
        raise InputError(f"{folder} holds the images of another run ({difference}): nothing was written. {advice}")
    return (), True


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(END_MARKS["PNG"]), io.SEEK_END)
            return file.read() == END_MARKS["PNG"]
    except OSError:  # not there, or shorter than that
        return False


def _has_text(folder: Path, number: int, run: _Run) -> bool:
    """Whether the prompt of an image is next to it, where it has one."""
    try:
        return (prompt := run.prompt(number)) is None or (folder / _name(number, "txt")).read_bytes() == prompt
    except OSError:
        return False


def _name(number: int, suffix: str = "png") -> str:
    return f"{number:06d}.{suffix}"


def _read_manifest(text: str) -> _Manifest | None:
    try:
        return typed(parse_json(text[: MAX_BYTES + 1]), _Manifest)
    except DocumentError:
        return None


# --- archives ----------------------------------------------------------------------------------------------------


def _save_archive(run: _Run, path: Path, write: Callable[[_Run, Path], None], overwrite: bool) -> Saved:
    advice = "Choose another name, or replace it with --overwrite."
    if path.is_file() and not overwrite:
        try:
            with zipfile.ZipFile(path) as archive:
                before = _read_manifest(archive.comment.decode("utf-8", "replace"))
        except (zipfile.BadZipFile, OSError):
            before = None
        if before is None:
            raise InputError(f"{path} exists, and was not written by this command: nothing was written. {advice}")
        if difference := run.difference(before, more_is_fine=False):
            raise InputError(f"{path} holds the images of another run ({difference}): nothing was written. {advice}")
        run.progress(run.n)
        return Saved(0, run.n)
    with written_whole(path) as temporary:
        write(run, temporary)
    return Saved(run.n, 0)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # the same on every system
    entry.external_attr = 0o644 << 16
    return entry


def _write_zip(run: _Run, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = run.manifest().encode()
        for number, image in run.images(list(range(run.n))):
            archive.writestr(_entry(_name(number)), _png(image))
            if (prompt := run.prompt(number)) is not None:
                archive.writestr(_entry(_name(number, "txt")), prompt)
            run.progress(1)


def _write_npz(run: _Run, path: Path) -> None:
    """As ``numpy.savez`` does, but image by image."""
    first: tuple[int, ...] = ()
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = run.manifest().encode()
        with archive.open(_entry("arr_0.npy"), "w", force_zip64=True) as file:
            for number, image in run.images(list(range(run.n))):
                if not first:
                    first = image.shape
                    header = {"descr": "|u1", "fortran_order": False, "shape": (run.n, *first)}
                    np.lib.format.write_array_header_1_0(file, header)
                if image.shape != first:
                    sizes = " and ".join(f"{s[1]} x {s[0]}" for s in (first, image.shape))
                    raise InputError(
                        f"{run.source.spec} has images of {sizes} pixels (the first, and number {number}): a .npz "
                        "holds one size. Write them to a folder or a .zip."
                    )
                file.write(image.tobytes())
                run.progress(1)
