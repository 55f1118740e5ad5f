"""What a spec, text that names images, can be: one class a kind, and what each may do. ``grammar`` makes them of text.

A value is opened as the kind that it is, even if the files change after the text was parsed.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ganeval.errors import InputError

SHIPPED: Mapping[str, str] = {
    "dcgan-cifar10": "a DCGAN of CIFAR-10, 32 x 32 pixels",
    "dcgan-shapes": "a DCGAN of rendered scenes, dataset:shapes-plain, 64 x 64 pixels",
    "cyclegan-plain2striped": "rendered shapes, 64 x 64 pixels: plain objects become striped",
    "cyclegan-striped2plain": "the way back",
}
# torchvision data sets of which every file has the published hash before anything reads it. Others unpickle what they
# find: LSUN its cache of keys, the MNIST family (in older releases without restriction) its processed/training.pt.
HASHED_DATASETS = ("cifar10", "cifar100", "stl10", "svhn")
REMOTE = ("s3", "gs", "https", "http", "memory")  # protocols, as fsspec calls them
TABLES = (".parquet", ".arrow")  # files of columns
_MOST_SHARDS = 10**5
_SYSTEM = ("/dev", "/proc", "/sys")  # without end, or with files that wait

Part = Literal["images", "statistics"]


class Spec(msgspec.Struct, frozen=True):
    """What a text names; every kind is a class below, and ``str`` gives the text.

    Attributes:
        text: as the user wrote it.
    """

    text: str

    def __str__(self) -> str:
        return self.text


class Folder(Spec, frozen=True):
    path: Path


class Archive(Spec, frozen=True):
    path: Path
    form: Literal["zip", "tar"]


class Shards(Spec, frozen=True):
    """Archives, or files of columns, that a pattern with braces names, see ``expand_braces``."""

    pattern: str


class ArrayFile(Spec, frozen=True):
    """An npy or npz file; which of images and statistics an npz holds is known by its members only.

    Attributes:
        part: what the user chose of an npz; None where nothing was said.
    """

    path: Path
    form: Literal["npz", "npy"]
    part: Part | None = None


class TableFile(Spec, frozen=True):
    """A file of columns, one of which holds encoded images."""

    path: Path
    form: Literal["parquet", "arrow"]


class HDF5File(Spec, frozen=True):
    path: Path


class RemotePlace(Spec, frozen=True):
    """Images on another machine, or in the memory of fsspec.

    Attributes:
        url: with its protocol, one of ``REMOTE``; braces name several files.
    """

    url: str


class OtherFile(Spec, frozen=True):
    """An existing file that holds no images, by its suffix."""

    path: Path


class Missing(Spec, frozen=True):
    """A path at which there is nothing."""

    path: Path


class Invalid(Spec, frozen=True):
    """Text that names nothing.

    Attributes:
        problem: the message of the error that opening it is.
    """

    problem: str


class NamedStatistics(Spec, frozen=True):
    """
    Attributes:
        part: what the user chose, where they hold images too; None where nothing was said.
    """

    name: str
    part: Part | None = None


class Rendered(Spec, frozen=True):
    """Shapes that are drawn by number.

    Attributes:
        size: in pixels.
        seed: None for that of the run.
    """

    variant: str
    size: int
    seed: int | None


class TorchvisionDataset(Spec, frozen=True):
    """
    Attributes:
        name: of a class of ``torchvision.datasets``, in lower case.
    """

    name: str
    split: str


class RegisteredSource(Spec, frozen=True):
    """Images of a kind that another package has registered, see ``ganeval.images.registry``.

    Attributes:
        prefix: of the kind.
        name: the text after the prefix.
    """

    prefix: str
    name: str


class ShippedGenerator(Spec, frozen=True):
    """
    Attributes:
        name: one of ``SHIPPED``.
    """

    name: str


class GeneratorFile(Spec, frozen=True):
    """Weights in safetensors and a card in JSON, both data alone, of an architecture of this package.

    Attributes:
        path: FILE.safetensors, its FILE.json, or a folder that holds one such pair.
    """

    path: Path


class ScriptFile(Spec, frozen=True):
    """TorchScript: a program."""

    path: Path


class ImportedGenerator(Spec, frozen=True):
    """A callable of a Python module: a program."""

    module: str
    name: str


class Translation(Spec, frozen=True):
    """What ``model`` makes of the images of ``source``."""

    model: Generator
    source: Spec


Generator = ShippedGenerator | GeneratorFile | ScriptFile | ImportedGenerator


def closed_to_documents(spec: Spec) -> str | None:
    """Why a spec stays closed if only a document names it, as a clause; None where it may be opened.

    Open are images as files, rendered images, torchvision data sets of ``HASHED_DATASETS`` (which are looked for in the
    user's own folder and never downloaded), shipped generators, generators as safetensors, and translations by open
    models of open images. All of these are data that this package reads with its own code.
    """
    match spec:
        case Rendered() | ShippedGenerator():
            return None
        case Folder(path=path) | Archive(path=path) | ArrayFile(path=path) | TableFile(path=path):
            return _closed_place(spec, path)
        case GeneratorFile(path=path):
            return _closed_place(spec, path)
        case HDF5File():
            return f"{spec} is an HDF5 file, whose library is not made for files of unknown origin"
        case Shards(pattern=pattern):
            places = (_closed_place(spec, Path(name)) for name in expand_braces(pattern))
            return next((why for why in places if why is not None), None)
        case Missing() | OtherFile() | Invalid():
            return None  # opening one is an error that says what it is
        case TorchvisionDataset(name=name):
            if name in HASHED_DATASETS:
                return None
            return f"{spec} may be stored as pickles, which are programs, and a document alone never runs one"
        case Translation(model=model, source=source):
            return closed_to_documents(model) or closed_to_documents(source)
        case NamedStatistics():
            return f"{spec} names statistics: there are no images to open"
        case RemotePlace():
            return f"{spec} is on another machine, and a document alone fetches nothing"
        case RegisteredSource():
            return f"{spec} is opened by code of another package, and a document alone never runs it"
        case _:
            return f"{spec} is a program, and a document alone never runs one"


def expand_braces(pattern: str) -> list[str]:
    """The names that a pattern with braces stands for.

    >>> expand_braces("s-{08..10}.tar")
    ['s-08.tar', 's-09.tar', 's-10.tar']

    Raises:
        InputError: no name, or more than any set of shards has.
    """
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices: list[Sequence[str]] = []
    count = 1
    for number, part in enumerate(parts):
        if number % 2 == 0:
            choices.append([part])
        elif bounds := re.fullmatch(r"(\d+)\.\.(\d+)", part):
            low, high = bounds.groups()
            padded = any(len(bound) > 1 and bound[0] == "0" for bound in (low, high))
            width = max(len(low), len(high)) if padded else 0
            count *= max(0, int(high) - int(low) + 1)
            if count <= _MOST_SHARDS:
                choices.append([f"{i:0{width}d}" for i in range(int(low), int(high) + 1)])
        else:
            choices.append(part.split(","))
            count *= len(choices[-1])
        if count > _MOST_SHARDS:
            raise InputError(f"{pattern} names more than {_MOST_SHARDS} files. Check the numbers in braces.")
    names = ["".join(choice) for choice in itertools.product(*choices)]
    if not names:
        raise InputError(f"{pattern} names no file: a range in braces goes upwards, as in {{000..099}}.")
    return names


def public_text(spec: Spec) -> str:
    """The text without the folders of this machine, for what leaves it: names of files and everything else."""
    match spec:
        case Translation(model=model, source=source):
            return f"{public_text(model)}({public_text(source)})"
        case GeneratorFile(path=path) | ScriptFile(path=path):
            return f"gen:{path.name}"
        case Folder(path=path) | Archive(path=path) | OtherFile(path=path) | Missing(path=path):
            return path.name
        case TableFile(path=path) | HDF5File(path=path):
            return path.name
        case ArrayFile(path=path, part=part):
            return path.name if part is None else f"{path.name}:{part}"
        case Shards(pattern=pattern):
            return Path(pattern).name
        case RegisteredSource(prefix=prefix, name=name):
            return f"{prefix}:{Path(name).name}"
        case RemotePlace(url=url):
            return Path(url.partition("?")[0]).name
        case _:
            return spec.text


def _closed_place(spec: Spec, path: Path) -> str | None:
    """Why a document may not name this place: listing it could take hours, or reading it wait for ever."""
    real = Path(os.path.realpath(path))
    if real == Path(real.anchor) or any(real.is_relative_to(folder) for folder in _SYSTEM):
        return f"{spec} is a folder of the system, which a document alone does not open"
    return None
