"""Specs: text that names images, parsed once into a value that says what it is.

``DIR/``                               folder
``FILE.zip``, ``FILE.tar[.gz]``        archive; ``shards-{000..099}.tar``: several as one set
``FILE.npz``, ``FILE.npy``             arrays; ``FILE.npz:images`` or ``FILE.npz:statistics``: one part of the file
``FILE.parquet``, ``FILE.arrow``       a column of encoded images; ``data-{0..9}.parquet``: several as one set
``FILE.h5``, ``FILE.hdf5``             an HDF5 file with an array of images
``stats:NAME``                         reference statistics by name; ``stats:NAME:images``, ``stats:NAME:statistics``
``dataset:shapes[-plain|-striped][:SIZE][@SEED]``   rendered images
``dataset:NAME:SPLIT``                 a torchvision data set
``gen:NAME``                           a generator that ships with ganeval, by its exact name
``gen:FILE.safetensors``, ``gen:DIR``  a generator's checkpoint (also its .json), or the folder of one
``gen:FILE``                           any other file: TorchScript
``gen:package.module:name``            a callable that is imported
``gen:NAME(SPEC)``                     a translation of other images by any of these; translations nest
``s3://``, ``gs://``, ``https://``     a folder or a file on another machine
``PREFIX:TEXT``                        images of a kind that another package has registered under this prefix

Prefixes and names are exact: no letter case is folded, no blank removed, no percent code decoded. Text comes first:
what begins with a prefix is never a path (write ``./gen:x``). After ``gen:`` a shipped name comes first, then an
existing file or folder of the whole name (a file may be called ``x(y).pt``), then brackets. Nothing is opened here:
files are only looked for, and the value says that it is a file where that is what decided.

``ganeval.images.specs`` has the values; ``closed_to_documents`` there says whether a document alone may open one.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Literal

from ganeval.errors import InputError, did_you_mean
from ganeval.images import specs
from ganeval.images.registry import BUILTIN_PREFIXES, KINDS
from ganeval.images.specs import SHIPPED, Generator, Spec

_MOST_NESTED = 16
_ZIP, _TAR, _HDF5 = (".zip",), (".tar", ".tgz", ".tar.gz"), (".h5", ".hdf5")
_PARTS: tuple[specs.Part, ...] = ("images", "statistics")
_PART = re.compile(r"(.+\.npz):(images|statistics)", re.IGNORECASE | re.DOTALL)
_SHAPES = re.compile(r"dataset:shapes(?:-(plain|striped))?(?::([0-9]{1,18}))?(?:@([0-9]{1,18}))?")
_IMPORT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_GENERATOR_FILES = (".safetensors", ".json")
_SCRIPT_FILES = (".pt", ".pth", ".ckpt", ".pkl", ".bin")  # by suffix alone; an existing file may have any other


def parse_spec(text: str) -> Spec:
    """Parse the text of a spec. Of the file system only kinds of files are looked at; nothing is opened.

    Never fails: empty text, a null byte, a pipe or device, and a prefix before what names nothing are ``Invalid``.
    """
    return _checked(_parse, text)


def as_spec(given: object) -> Spec | None:
    """The spec of a text or a path, or ``given`` if it is a spec already; None for any other object.

    A ``Path`` always names a file or folder: ``Path("gen:x")`` is a file of that name.
    """
    if isinstance(given, Spec):
        return given
    if isinstance(given, str):
        return parse_spec(given)
    return _checked(_path, os.fsdecode(given)) if isinstance(given, PathLike) else None


def spec_or_object(given: object) -> object:
    """The spec of a text or a path, parsed; any other object as it is."""
    named = as_spec(given)
    return given if named is None else named


def _checked(parse: Callable[[str], Spec], text: str) -> Spec:
    try:
        return parse(text)
    except InputError as error:
        return specs.Invalid(text, str(error))


def _parse(text: str, depth: int = 0) -> Spec:
    if "\0" in text:
        raise InputError(f"{text!r} holds a null byte, which no name of a file or generator has.")
    if not text.strip():
        raise InputError("a set of images has an empty name. Is a variable of the shell unset? This folder is '.'.")
    if text.startswith("gen:"):
        return _generated(text, depth)
    if text.startswith("dataset:"):
        return _dataset(text)
    if text.startswith("stats:"):
        name, _, chosen = text.removeprefix("stats:").partition(":")
        part = next((one for one in _PARTS if one == chosen), None)
        return specs.NamedStatistics(text, name if part else text.removeprefix("stats:"), part)
    prefix, colon, name = text.partition(":")
    if prefix in specs.REMOTE and name.startswith("//"):
        return specs.RemotePlace(text, text)
    if colon and prefix in KINDS:
        return specs.RegisteredSource(text, prefix, name)
    return _path(text)


# --- files and folders -------------------------------------------------------------------------------------------


def _path(text: str) -> Spec:
    chosen = _PART.fullmatch(text)
    path = _expanded(text if chosen is None else chosen[1])
    part: specs.Part | None = None
    if chosen is not None:
        part = "images" if chosen[2].lower() == "images" else "statistics"
    kind = _kind(text, path)
    if kind == "folder":
        return specs.Folder(text, path)
    if kind is None:
        return specs.Shards(text, str(path)) if "{" in text else specs.Missing(text, path)
    name = path.name.lower()
    if name.endswith(".npz"):
        return specs.ArrayFile(text, path, "npz", part)
    if name.endswith(".npy"):
        return specs.ArrayFile(text, path, "npy")
    if name.endswith(specs.TABLES):
        return specs.TableFile(text, path, "parquet" if name.endswith(".parquet") else "arrow")
    if name.endswith(_HDF5):
        return specs.HDF5File(text, path)
    if name.endswith(_ZIP):
        return specs.Archive(text, path, "zip")
    return specs.Archive(text, path, "tar") if name.endswith(_TAR) else specs.OtherFile(text, path)


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~NAME of no user: a file may still have this name
        return Path(text)


def _kind(text: str, path: Path) -> Literal["folder", "file"] | None:
    """What there is at a path, links followed; None for nothing.

    Raises:
        InputError: a pipe, socket or device, which could wait or go on for ever, or a path that cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return None
        raise InputError(f"{text!r} cannot be examined: {error.strerror or error}.") from error
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISREG(mode):
        return "file"
    raise InputError(f"{text!r} is a pipe, a socket or a device. Give a file or folder; write a pipe to a file first.")


# --- data sets and generators ------------------------------------------------------------------------------------


def _dataset(text: str) -> specs.Rendered | specs.TorchvisionDataset:
    if match := _SHAPES.fullmatch(text):
        variant, size, seed = match.groups()
        return specs.Rendered(text, variant or "mixed", int(size or 32), None if seed is None else int(seed))
    if text.startswith("dataset:shapes"):
        raise InputError(
            f"{text!r} does not name rendered images; expected dataset:shapes, dataset:shapes-plain or "
            "dataset:shapes-striped, with :SIZE and @SEED if you like: dataset:shapes:64@1."
        )
    _, name, *rest = text.split(":")
    if not name or len(rest) != 1 or not rest[0]:
        raise no_dataset(text)
    return specs.TorchvisionDataset(text, name.lower(), rest[0])


def no_dataset(text: str) -> InputError:
    return InputError(
        f"{text!r} does not name a data set; expected dataset:NAME:SPLIT, for example dataset:cifar10:test, "
        "with a name of torchvision.datasets, or dataset:shapes."
    )


def _generated(text: str, depth: int) -> Spec:
    if depth > _MOST_NESTED:
        raise InputError(f"translations are nested more than {_MOST_NESTED} deep. Name fewer.")
    body = text.removeprefix("gen:")
    if not body.endswith(")"):
        return _model(text, body)
    brackets = _brackets(body)
    if (brackets is None or brackets[0] not in SHIPPED) and (found := _existing(text, body)):
        return found
    if brackets is None:
        raise InputError(f"{text!r} cannot be read; a translation is written gen:NAME(SPEC), and SPEC names images.")
    name, source = brackets
    return specs.Translation(text, _model(f"gen:{name}", name), _parse(source, depth + 1))


def _brackets(body: str) -> tuple[str, str] | None:
    """``NAME(SPEC)`` to NAME and SPEC, by the bracket that belongs to the last one; None for anything else."""
    depth = 0
    for at in range(len(body) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(body[at], 0)
        if depth == 0:
            return (body[:at], body[at + 1 : -1]) if body[:at] and body[at + 1 : -1] else None
    return None


def _model(text: str, name: str) -> Generator:
    if name in SHIPPED:
        return specs.ShippedGenerator(text, name)
    if found := _existing(text, name):
        return found
    suffix = Path(name).suffix.lower()
    if suffix in _GENERATOR_FILES:
        return specs.GeneratorFile(text, _expanded(name))
    if suffix in _SCRIPT_FILES or "/" in name or "\\" in name:
        return specs.ScriptFile(text, _expanded(name))
    if _IMPORT.fullmatch(name):
        return specs.ImportedGenerator(text, *name.split(":"))
    hint = did_you_mean(name, SHIPPED, shown="gen:{}")
    raise InputError(
        f"{text!r} does not name a generator. Available: {', '.join(f'gen:{shipped}' for shipped in SHIPPED)}, "
        f"gen:package.module:callable, and gen:FILE with a .safetensors or TorchScript .pt file.{hint}"
    )


def _existing(text: str, name: str) -> specs.GeneratorFile | specs.ScriptFile | None:
    """The generator that is an existing file or folder of this name."""
    if not name:
        return None
    path = _expanded(name)
    kind = _kind(text, path)
    if kind is None:
        return None
    if kind == "folder" or path.suffix.lower() in _GENERATOR_FILES:
        return specs.GeneratorFile(text, path)
    return specs.ScriptFile(text, path)


def prefix_hint(text: str) -> str:
    """A sentence for a path that is missing and looks like a spec with a prefix; else empty."""
    exact = text.strip()
    for prefix in (f"{name}:" for name in (*BUILTIN_PREFIXES, *KINDS)):
        if exact.lower().startswith(prefix):
            return f" Prefixes are written in lower case, without blanks: {prefix}{exact[len(prefix) :].strip()}."
    return ""
