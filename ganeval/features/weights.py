"""Weights of the networks: where their files are, and whether they are the right ones.

Every file is compared with all 64 digits of its SHA-256. Files are looked for in ``GANEVAL_WEIGHTS_DIR``, then in the
torch hub folder that other tools share, then in the installed package that carries the file, if there is one. A file
found there by name must be the right file. A path that the user names may be any file: its hash becomes part of the
protocol.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganeval.download import Notify, fetch, is_offline, sha256_of
from ganeval.errors import InputError, WeightsError, did_you_mean, listed
from ganeval.features.published import SPECS
from ganeval.features.registry import DISTANCES, NETWORKS
from ganeval.features.types import WeightSpec
from ganeval.files import written_whole
from ganeval.parsing.arguments import option

if TYPE_CHECKING:
    from torch import Tensor

DIRECTORY_VARIABLE = "GANEVAL_WEIGHTS_DIR"
_INDEX_ONLY = "pip install 'ganeval[imagenet]'"


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """A file of weights on this machine. ``verified``: it is the published file, by its hash."""

    path: Path
    sha256: str
    verified: bool


@dataclass(frozen=True, slots=True)
class WeightStatus:
    """The state of one published file on this machine; ``path`` is where it is, or would be fetched to."""

    name: str
    filename: str
    licence: str
    bytes: int | None
    path: Path
    present: bool
    verified: bool


def specs() -> Mapping[str, WeightSpec]:
    """The published files by name, with those of networks and distances that plugins add."""
    NETWORKS.load()
    DISTANCES.load()
    return SPECS


def get_spec(name: str) -> WeightSpec:
    """The published file of that name, or the only one whose name starts with it."""
    known = specs()
    matches = [name] if name in known else [one for one in known if name and one.startswith(name)]
    if len(matches) == 1:
        return known[matches[0]]
    hint = did_you_mean(name, known, shown="{}")
    raise WeightsError(f"Unknown weights {name!r}.{hint} Available: {', '.join(known)}.")


def by_network(given: str | Path | Mapping[str, str | Path] | None, networks: Sequence[str]) -> dict[str, Path]:
    """The files of weights that a user named, by network.

    Args:
        given: one path, or paths by network. The part of a name before the first dash is enough (``inception``). A
            single path, or an empty name, stands for the first network.
        networks: those of the run.

    Raises:
        WeightsError: a network that the run does not have, two files for one, or a file that does not exist.
    """
    found: dict[str, Path] = {}
    for name, path in ({"": given} if isinstance(given, str | Path) else given or {}).items():
        network = next((n for n in networks if name in ("", n, n.split("-")[0])), None)
        if network is None:
            raise WeightsError(f"weights of {name}: the networks of this run are {', '.join(networks)}, not {name!r}.")
        if network in found:
            raise WeightsError(f"two files of weights are named for {network}: {found[network]} and {path}. Name one.")
        if not Path(path).is_file():
            raise WeightsError(f"weights file not found: {path}. Give the path of a file that exists.")
        found[network] = Path(path)
    return found


def hub_folder() -> Path:
    """The folder in which ``torch.hub`` keeps weights, found without importing torch."""
    if "torch.hub" in sys.modules:  # the program may have called torch.hub.set_dir
        return Path(sys.modules["torch.hub"].get_dir()) / "checkpoints"
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    home = os.getenv("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(os.path.expanduser(home)) / "hub" / "checkpoints"


def locate(spec: WeightSpec, path: Path | str | None = None, *, notify: Notify | None = None) -> LocatedWeights:
    """Find the weights: ``path``, else GANEVAL_WEIGHTS_DIR, else the torch hub folder, else an installed package,
    else the network.

    Args:
        spec: an entry of ``specs()``.
        path: a file that the user names. It is never rejected for its hash: ``verified`` says whether it is the
            published one.
        notify: takes the announcement of a download.

    Raises:
        WeightsError: the named file does not exist; a file found by name has another hash; nothing is there and
            nothing can be fetched.
    """
    if path is not None:
        file = Path(path)
        if not file.is_file():
            state = "is a folder" if file.is_dir() else "does not exist"
            raise WeightsError(f"The weights file {file} {state}. Give the path of a file that holds {spec.what}.")
        return _located(spec, file)
    if (found := _find(spec)) is not None:
        located = _located(spec, found)
        if spec.sha256 is not None and not located.verified:
            raise WeightsError(_wrong(spec, located))
        return located
    target = hub_folder() / spec.filename
    if not spec.url:
        raise WeightsError(_missing(spec, target, "they come with a package that is not installed"))
    if is_offline():
        raise WeightsError(_missing(spec, target, "GANEVAL_OFFLINE is set, so nothing is downloaded"))
    terms: dict[str, Any] = {name: getattr(spec, name) for name in ("sha256", "bytes", "what", "licence")}
    try:
        fetch(spec.url, target, notify=notify, **terms)
    except WeightsError as error:
        raise WeightsError(_missing(spec, target, str(error).rstrip("."))) from error
    return _located(spec, target)


def list_weights() -> list[WeightStatus]:
    """Every published file, with its state on this machine; fetches nothing, and a wrong file is no error."""
    return [status(spec) for spec in specs().values()]


def status(spec: WeightSpec) -> WeightStatus:
    """Whether the file is on this machine where ``locate`` looks, and whether it is the right one."""
    found = _find(spec)
    verified = found is not None and _located(spec, found).verified
    path = found or hub_folder() / spec.filename
    return WeightStatus(spec.name, spec.filename, spec.licence, spec.bytes, path, found is not None, verified)


def verify(spec: WeightSpec) -> LocatedWeights:
    """The file on this machine, after its hash was checked; fetches nothing.

    Raises:
        WeightsError: it is not there, or it is another file.
    """
    if _find(spec) is None:
        raise WeightsError(_missing(spec, hub_folder() / spec.filename, "they were not fetched yet"))
    return locate(spec)


def import_file(path: Path | str, spec: WeightSpec | None = None) -> LocatedWeights:
    """Copy a file that came by other means into the torch hub folder, atomically, after checking its hash.

    Args:
        path: the file, under any name.
        spec: what it should be; without it, the hash says which entry of the table it is.

    Raises:
        WeightsError: no such file, or it is not what it should be.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"There is no file {file} to import. Give the path of a file that exists.")
    digest, use = _hash(file), f"To use it all the same, pass it with {option('weights')}."
    if spec is None:
        spec = next((known for known in specs().values() if known.sha256 == digest), None)
        if spec is None:
            raise WeightsError(
                f"{file} (SHA-256 {digest}) is not one of the files that ganeval knows: {', '.join(specs())}. {use}"
            )
    elif spec.sha256 not in (None, digest):
        raise WeightsError(
            f"{file} is not {spec.what}: its SHA-256 is {digest}, expected {spec.sha256}. Nothing was copied. {use}"
        )
    target = hub_folder() / spec.filename
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(target) as temporary:
            shutil.copyfile(file, temporary)
            if sha256_of(temporary) != digest:
                raise WeightsError(f"{file} changed while it was copied. Nothing was imported; try again.")
    except (OSError, InputError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise WeightsError(f"Cannot copy {file} to {target}: {reason or error}.") from error
    return LocatedWeights(target, digest, digest == spec.sha256)


def export_files(wanted: Sequence[WeightSpec], archive: Path) -> dict[str, LocatedWeights]:
    """Write verified files of this machine to a tar archive, for a machine without network; fetches nothing.

    Args:
        wanted: the files; none: all that are on this machine.

    Raises:
        WeightsError: a file is missing or wrong, or there is none.
        InputError: the archive cannot be written.
    """
    if not wanted:
        wanted = [specs()[one.name] for one in list_weights() if one.present]
    if not wanted:
        raise WeightsError("No weights are on this machine, so there is nothing to export. Fetch some first.")
    found = {spec.name: verify(spec) for spec in wanted}
    with written_whole(archive) as temporary, tarfile.open(temporary, "w") as tar:
        for spec in wanted:
            tar.add(found[spec.name].path.resolve(), spec.filename)
    return found


def import_archive(archive: Path) -> dict[str, LocatedWeights]:
    """Copy the files of an archive of ``export_files`` into the torch hub folder, each after checking its hash.

    Raises:
        WeightsError: the archive is damaged, or a member is unknown or not the file that its name says.
    """
    by_filename = {spec.filename: spec for spec in specs().values()}
    found = {}
    try:
        with tarfile.open(archive, "r:") as tar, tempfile.TemporaryDirectory() as folder:
            members = tar.getmembers()
            if others := [one.name for one in members if not one.isfile() or one.name not in by_filename]:
                raise WeightsError(
                    f"{archive} holds {listed(others)}, which ganeval does not know. Expected an archive of "
                    "`ganeval weights export`."
                )
            for member in members:
                spec, file = by_filename[member.name], Path(folder) / member.name
                content = tar.extractfile(member)
                assert content is not None
                with content, file.open("wb") as copy:
                    shutil.copyfileobj(content, copy)
                found[spec.name] = import_file(file, spec)
                file.unlink()
    except (tarfile.TarError, EOFError) as error:
        raise WeightsError(f"{archive} is damaged: {error}. Copy it again.") from error
    return found


def load_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Read a file of weights without ever running code from it.

    Args:
        path: ``.safetensors``, or anything else as ``torch.save`` writes it.

    Returns:
        tensors on the CPU, by name.

    Raises:
        WeightsError: damaged, no plain dictionary of tensors, or a pickle that carries code.
    """
    import torch  # imported here so that listing and fetching weights need no torch

    file = Path(path)
    try:
        if file.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            content: object = load_file(file)
        else:
            with file.open("rb") as stream:
                start = stream.read(2)
            if start != b"PK" and start[:1] != b"\x80":  # neither of torch.save's two formats, zip and pickle
                raise ValueError("torch.save did not write it")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of a TorchScript archive, then refuses it
                content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(_carries_code(file)) from error
    except Exception as error:  # a damaged file ends in whatever the reader of its format raises
        if "TorchScript" in str(error):
            raise WeightsError(_carries_code(file)) from error
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"Cannot read weights from {file}: {reason[0][:200]}. It is damaged or not a file of weights."
        ) from error
    if isinstance(content, Mapping) and content and all(isinstance(x, torch.Tensor) for x in content.values()):
        return {str(name): tensor for name, tensor in content.items()}
    what = f"a {type(content).__name__}" if not isinstance(content, Mapping) else "a dictionary of other things"
    raise WeightsError(f"{file} holds {what}; expected a dictionary of tensors. Save model.state_dict() alone.")


def _carries_code(file: Path) -> str:
    return (
        f"{file} is not a plain file of weights: reading it would run code from it, or it is damaged. "
        f"Load it once with the program that wrote it and save its state_dict() with torch.save or safetensors."
    )


def _find(spec: WeightSpec) -> Path | None:
    directory = os.environ.get(DIRECTORY_VARIABLE)
    folders = ([Path(directory).expanduser()] if directory else []) + [hub_folder()]
    files = (folder / name for folder in folders for name in (spec.filename, *spec.aliases))
    return next((file for file in files if file.is_file()), None) or _packaged(spec)


def _packaged(spec: WeightSpec) -> Path | None:
    """The file in an installed package, which is not imported."""
    found = find_spec(spec.package[0]) if spec.package else None
    if spec.package is None or found is None:
        return None
    folders = (Path(folder) / spec.package[1] for folder in found.submodule_search_locations or ())
    return next((file for folder in folders if (file := folder / spec.filename).is_file()), None)


def _located(spec: WeightSpec, file: Path) -> LocatedWeights:
    digest = _hash(file)
    return LocatedWeights(file, digest, digest == spec.sha256)


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsError(f"Cannot read the weights file {path}: {error.strerror or error}.") from error


def _wrong(spec: WeightSpec, located: LocatedWeights) -> str:
    return (
        f"{located.path} has the name of {spec.what} but is another file, or damaged: its SHA-256 is {located.sha256}, "
        f"expected {spec.sha256}. Remove it and run `{spec.command}`. To use this file as it is, "
        f"pass it with {option('weights')}."
    )


def _missing(spec: WeightSpec, target: Path, why: str) -> str:
    directory = os.environ.get(DIRECTORY_VARIABLE)
    elsewhere = f" (nor in {DIRECTORY_VARIABLE}={directory})" if directory else ""
    get = (
        f"Fetch {spec.url} on another machine and put it at {target} (SHA-256 {spec.sha256 or 'not published'})"
        if spec.url
        else f"Run {spec.command}, or put {spec.filename} at {target}"
    )
    lite = (
        "" if spec.package else f" For images of 64 pixels and more, {_INDEX_ONLY} and {option('protocol', 'lite')} do."
    )
    return (
        f"{spec.what[:1].upper()}{spec.what[1:]} are not on this machine{elsewhere}: {why}. "
        f"{get}, or name the file with {option('weights')}. Without any weights, {option('protocol', 'compact')} works "
        f"right now; for ppl, {option('distance', 'compact')}.{lite}"
    )
