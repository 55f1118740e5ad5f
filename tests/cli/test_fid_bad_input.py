"""Every bad input ends in one clear message and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.cli.main import main

Capture = pytest.CaptureFixture[str]


def write_images(folder: Path, n: int, seed: int = 0, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(folder / f"{i:04}{suffix}")
    return folder


def statistics(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def text_as_png(folder: Path) -> Path:
    write_images(folder, 3)
    (folder / "bad.png").write_text("this is no image")
    return folder


def truncated(folder: Path) -> Path:
    write_images(folder, 3, suffix=".jpg")
    whole = (folder / "0001.jpg").read_bytes()
    (folder / "bad.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


def empty_file(folder: Path) -> Path:
    write_images(folder, 3)
    (folder / "bad.png").touch()
    return folder


def empty_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    return folder


def pickled(folder: Path) -> Path:
    return statistics(folder.with_suffix(".npz"), mu=np.array([{"a": 1}], dtype=object), sigma=np.eye(2))


def with_nan(folder: Path) -> Path:
    sigma = np.eye(256)
    sigma[3, 3] = np.nan
    return statistics(folder.with_suffix(".npz"), mu=np.zeros(256), sigma=sigma)


def other_protocol(folder: Path) -> Path:
    return statistics(folder.with_suffix(".npz"), mu=np.zeros(256), sigma=np.eye(256))


def wrong_shape(folder: Path) -> Path:
    return statistics(folder.with_suffix(".npz"), mu=np.zeros(256), sigma=np.eye(255))


def floats(folder: Path) -> Path:
    np.save(folder.with_suffix(".npy"), np.random.default_rng(0).random((4, 3, 8, 8), dtype=np.float32))
    return folder.with_suffix(".npy")


def no_zip(folder: Path) -> Path:
    folder.with_suffix(".zip").write_bytes(b"PK nothing")
    return folder.with_suffix(".zip")


@pytest.mark.parametrize("side", ["real", "fake"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f / "missing", "missing"),
        (empty_folder, "no file with the suffix of an image"),
        (lambda f: write_images(f, 1), "at least 2"),
        (text_as_png, "bad.png"),
        (truncated, "bad.jpg"),
        (empty_file, "bad.png"),
        (pickled, "pickle"),
        (with_nan, "NaN"),
        (other_protocol, "--assume-protocol"),
        (wrong_shape, "255"),
        (floats, "value-range"),
        (no_zip, ".zip"),
    ],
    ids=[
        "missing",
        "empty",
        "one",
        "text",
        "truncated",
        "0-byte",
        "pickled",
        "nan",
        "protocol",
        "shape",
        "floats",
        "zip",
    ],
)
def test_bad_images_and_statistics(
    make: Callable[[Path], Path], message: str, side: str, tmp_path: Path, capsys: Capture
) -> None:
    good, bad = write_images(tmp_path / "good", 4), make(tmp_path / "bad")
    before = set(tmp_path.rglob("*"))
    sides = [str(bad), str(good)] if side == "real" else [str(good), str(bad)]
    code = main(["fid", *sides, "--protocol", "compact", "--json", "-o", str(tmp_path / "out.json")])
    out, err = capsys.readouterr()
    assert code == 2, err
    document = json.loads(out)
    assert message in document["error"]["message"]
    assert "Traceback" not in err
    assert err.count("error:") == 1
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--unknown"], "No such option"),
        (["--protocol", "tturr"], "Did you mean ttur"),
        (["--protocol", "compact", "--weights", "none.pt"], "none.pt"),
        (["--protocol", "ttur", "--weights", "wrong.pth"], "wrong.pth"),
        (["--protocol", "compact", "--weights", "wrong.pth"], "wrong.pth"),
        (["--protocol", "ttur", "--weights", "vgg=wrong.pth"], "not 'vgg'"),
        (["--protocol", "ttur"], "--protocol compact"),
        (["--protocol", "compact", "--device", "tpu"], "no device 'tpu'"),
        (["--protocol", "compact", "--num-fake", "99"], "99"),
        (["--protocol", "compact", "-o", "no/such/folder/out.json"], "no/such/folder"),
        (["--protocol", "compact", "--level", "1"], "1"),
        (["--protocol", "compact", "--num-samples", "3"], "here is none"),
        (["--protocol", "compact", "--latent-dim", "3"], "here is none"),
        (["--protocol", "compact", "--num-classes", "3"], "here is none"),
    ],
)
def test_bad_options(
    options: list[str], message: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    write_images(Path("good"), 4)
    Path("wrong.pth").write_bytes(b"\x80\x04 not weights")
    before = set(tmp_path.rglob("*"))
    assert main(["fid", "good", "good", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("error:") == 1
    assert "Traceback" not in err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        ["fid", "set.zip", "good", "--protocol", "compact"],
        ["fid", "good", "set.zip", "--protocol", "compact"],
        ["is", "set.zip", "--protocol", "compact"],
        ["check", "good", "set.zip"],
        ["stats", "build", "set.npz", "--protocol", "compact"],
        ["stats", "show", "set.npz"],
    ],
)
def test_a_result_never_replaces_what_was_read(
    command: list[str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("good"), 4)
    statistics(Path("set.npz"), mu=np.zeros(3), sigma=np.eye(3))
    if command[1] == "build":
        statistics(Path("set.npz"), arr_0=np.zeros((4, 8, 8, 3), np.uint8))
    assert main(["sample", "dataset:shapes:16", "-n", "4", "-o", "set.zip"]) == 0
    name = "set.npz" if "set.npz" in command else "set.zip"
    before = Path(name).read_bytes()
    assert main([*command, "-o", str(tmp_path / "good" / ".." / name)]) == 2
    assert "would be overwritten by its result" in capsys.readouterr().err
    assert Path(name).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good", "set.npz", "set.zip"]


def test_folder_without_permission(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory read is replaced, since a superuser may read everything."""
    import os

    good = write_images(tmp_path / "good", 3)
    locked = write_images(tmp_path / "locked", 3)
    real_scandir = os.scandir

    def scandir(path: object = ".") -> object:
        if "locked" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    assert main(["fid", str(good), str(locked), "--protocol", "compact"]) == 2
    err = capsys.readouterr().err
    assert "locked" in err
    assert "permission" in err.lower()


def test_skip_counts_what_it_drops(tmp_path: Path, capsys: Capture) -> None:
    good, bad = write_images(tmp_path / "good", 4), truncated(tmp_path / "bad")
    assert main(["fid", str(good), str(bad), "--protocol", "compact", "--on-error", "skip", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["fake"]["n"] == 3
    assert [name for name, _ in document["fake"]["skipped"]] == ["bad.jpg"]
    assert "1 unreadable" in err
