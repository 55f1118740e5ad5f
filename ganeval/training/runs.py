"""The folder of one training run: which run it holds, whether it can be continued, and its log."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from filelock import FileLock, Timeout

from ganeval.errors import ConfigError, InputError
from ganeval.files import write_text
from ganeval.parsing.documents import DocumentError, parse_json, read_json_tree, typed
from ganeval.training.checkpoints import POINTER, remove_checkpoints

RUN = "run.json"
LOG = "log.jsonl"
SAMPLES = "samples"
FIGURE = "game.png"
_LOCK = ".lock"  # held while a process writes the run
_SCHEMA = "ganeval-run/1"
_UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{8}\.[a-z]+")  # the temporary name of a file, left by a kill
_EXPORTS = re.compile(r"(generator|a2b|b2a)\.(safetensors|json)")
_OURS = re.compile(rf"{RUN}|{LOG}|{SAMPLES}|{FIGURE}|{POINTER}|checkpoint-\d{{8}}\.safetensors|{_EXPORTS.pattern}")
_SAMPLE = re.compile(r"\d{8}\.png")
_WHAT, _ADVICE = "description of a training run", "Give the folder that `ganeval train` wrote."
_LONGEST = 2**20  # bytes of a line of the log


class RunFile(msgspec.Struct, frozen=True):
    """The declared keys of ``run.json``; each model adds others."""

    schema: Literal["ganeval-run/1"]
    model: str | None = None
    architecture: dict[str, Any] = {}


class LogLine(msgspec.Struct, frozen=True):
    """The declared keys of a line of ``log.jsonl``; the others are what was measured."""

    step: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    kind: str


class Run:
    """An output folder that belongs to this run alone, and to one process at a time, until ``close``.

    Attributes:
        folder: where everything goes.
        log: the lines of ``log.jsonl`` so far, each a dictionary with ``step`` and ``kind``.

    Raises:
        InputError: another process writes the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: list[dict[str, Any]] = []
        self._lock = FileLock(folder / _LOCK, timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise InputError(
                f"Another process is writing the training run in {folder}. Nothing was changed. Wait until it has "
                "ended, or choose another folder."
            ) from error
        except (OSError, NotImplementedError):
            pass  # a file system without locks

    def close(self) -> None:
        """Leave the folder to other processes."""
        with suppress(OSError, NotImplementedError):
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)

    def write(self, kind: str, step: int, values: Mapping[str, object]) -> None:
        """Append a line to the log and write it at once."""
        line = {"kind": kind, "step": step, **values}
        self.log.append(line)
        try:
            with (self.folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise InputError(
                f"Cannot write {self.folder / LOG}: {error.strerror or error}. The run can be resumed from its last "
                "checkpoint."
            ) from error

    def rewind(self, step: int) -> None:
        """Remove lines after ``step`` and the line of an end: these steps are done, and logged, again."""
        self.log = [line for line in _read_log(self.folder / LOG) if line["step"] <= step and line.get("kind") != "end"]
        write_text(self.folder / LOG, "".join(json.dumps(line) + "\n" for line in self.log))

    def sample_path(self, step: int) -> Path:
        return self.folder / SAMPLES / f"{step:08d}.png"


def open_run(output: str | Path, config: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False) -> Run:
    """Take a folder for a new run, or continue the run that it holds.

    Args:
        output: the folder; it is made if it does not exist.
        config: what identifies the run, in values that JSON can hold: ``model``, ``architecture`` (the constructor's
            arguments) and everything else that changes the numbers.
        resume: continue the run in the folder from its last checkpoint; start one if the folder is empty.
        overwrite: remove the files of the run in the folder. Other files stay.

    Raises:
        InputError: the folder holds another run, or other files, or another process writes it; nothing was changed.
        ConfigError: both ``resume`` and ``overwrite`` are set.
    """
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other: continue the run, or replace it.")
    folder = Path(output)
    wanted = json.loads(json.dumps({"schema": _SCHEMA, **config}))  # equal to what a reader gets
    try:
        present = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.exists() else []
    except (NotADirectoryError, PermissionError) as error:
        raise InputError(f"{folder} is not a folder that can be read. Choose another name.") from error
    held = None
    with suppress(InputError):
        held = _read_config(folder / RUN)
    if present and not overwrite:
        if held is None:
            raise InputError(
                f"{folder} holds no training run but other files ({', '.join(present[:3])}"
                f"{', ...' if len(present) > 3 else ''}). Nothing was written. Choose an empty or a new folder."
            )
        if not resume:
            raise InputError(
                f"{folder} already holds a training run. Nothing was written. Continue it with --resume, replace it "
                "with --overwrite, or choose another folder."
            )
        _require_same(folder, held, wanted)
    if overwrite and held is None and any(map(_OURS.fullmatch, present)):
        raise InputError(f"{folder} holds files with the names of those of a run, but no {RUN}. Choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(folder)
        if overwrite:
            _remove(folder)
        (folder / SAMPLES).mkdir(exist_ok=True)
        for path in [*folder.iterdir(), *(folder / SAMPLES).iterdir()]:
            match = _UNFINISHED.fullmatch(path.name)
            if match and (_OURS.fullmatch(match[1]) or _SAMPLE.fullmatch(match[1])):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made or written to ({error.strerror}). Choose another folder.") from error
    if not resume or held is None:
        write_text(folder / RUN, json.dumps(wanted, indent=2) + "\n")
    return run


def read_run(folder: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the description of a run and its log so far.

    Raises:
        InputError: the folder holds no run.
    """
    path = Path(folder) / RUN
    if not path.is_file():
        raise InputError(f"{folder} holds no training run. {_ADVICE}")
    return _read_config(path), _read_log(Path(folder) / LOG)


def _remove(folder: Path) -> None:
    remove_checkpoints(folder)
    for name in (LOG, FIGURE, RUN):
        (folder / name).unlink(missing_ok=True)
    for path in [*folder.iterdir(), *(folder / SAMPLES).glob("*.png")]:
        if _EXPORTS.fullmatch(path.name) or _SAMPLE.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _read_config(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = read_json_tree(path, what=_WHAT, advice=_ADVICE)
    try:
        typed(fields, RunFile)
    except DocumentError as error:
        raise InputError(f"{path} is not a valid {_WHAT}: {error}. {_ADVICE}") from error
    return fields


def _require_same(folder: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise InputError unless the run in the folder is the one to continue."""
    if held.get("model") != wanted.get("model"):
        raise InputError(f"{folder} holds a run of {held.get('model')}, not of {wanted.get('model')}.")
    for part, what in (("architecture", "the checkpoint of another architecture"), (None, "another run")):
        old, new = (held, wanted) if part is None else (held.get(part), wanted.get(part))
        if not isinstance(old, dict) or not isinstance(new, dict):
            continue
        keys = sorted({*old, *new} - {"architecture"})
        differences = [f"{k}: {old.get(k)}, now {new.get(k)}" for k in keys if old.get(k) != new.get(k)]
        if differences:
            raise InputError(
                f"{folder} holds {what} ({'; '.join(differences)}). Resume with the settings that it was started with, "
                "or choose another folder."
            )


def _read_log(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a log; a killed run may have left half a line at the end."""
    lines = []
    try:
        with path.open("rb") as file:
            for text in iter(lambda: file.readline(_LONGEST), b""):
                with suppress(DocumentError):
                    fields = parse_json(text, not_finite=True)  # the log of a diverged run has NaN and infinity
                    typed(fields, LogLine)
                    lines.append(fields)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. {_ADVICE}") from error
    return lines
