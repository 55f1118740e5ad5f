"""Writing images: what is in the files, going on after a break, and what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganeval.errors import InputError
from ganeval.images import save
from ganeval.images.open import open_images
from ganeval.images.save import MANIFEST, Saved, save_images
from ganeval.images.shapes import render
from ganeval.images.types import ImageSource


def shapes(n: int, spec: str = "dataset:shapes:16@3") -> ImageSource:
    return open_images(spec, num_samples=n)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pixels(path: Path | io.BytesIO) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_folder_holds_numbered_lossless_images_and_says_what_it_is(tmp_path: Path) -> None:
    assert save_images(shapes(5), tmp_path / "a" / "out") == Saved(written=5, kept=0)
    out = tmp_path / "a" / "out"
    assert sorted(contents(out)) == [*(f"{i:06d}.png" for i in range(5)), MANIFEST]
    for i in range(5):
        np.testing.assert_array_equal(pixels(out / f"{i:06d}.png"), render(i, seed=3, size=16))
    told = json.loads((out / MANIFEST).read_text())
    assert (told["n"], told["source"]["seed"], told["source"]["size"]) == (5, 3, 16)


def test_a_zip_holds_the_same_files(tmp_path: Path) -> None:
    save_images(shapes(4), tmp_path / "out")
    save_images(shapes(4), tmp_path / "out.ZIP")
    with zipfile.ZipFile(tmp_path / "out.ZIP") as archive:
        assert {n: archive.read(n) for n in archive.namelist()} == {
            n: b for n, b in contents(tmp_path / "out").items() if n != MANIFEST
        }
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_npz_is_read_by_numpy_and_by_ourselves(tmp_path: Path) -> None:
    save_images(shapes(4), tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as held:
        assert held.files == ["arr_0"]
        assert held["arr_0"].dtype == np.uint8
        np.testing.assert_array_equal(held["arr_0"], [render(i, seed=3, size=16) for i in range(4)])
    (batch,) = open_images(tmp_path / "out.npz").batches(10)
    assert len(batch.names) == 4


@pytest.mark.parametrize("name", ["out", "out.zip", "out.npz"])
def test_batches_workers_and_time_change_no_byte(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_images(shapes(7), tmp_path / "a" / name if name == "out" else tmp_path / f"a-{name}", batch_size=64)
    monkeypatch.setattr("time.time", lambda: 2e9)
    save_images(shapes(7), tmp_path / "b" / name if name == "out" else tmp_path / f"b-{name}", batch_size=2, workers=1)
    if name == "out":
        assert contents(tmp_path / "a" / name) == contents(tmp_path / "b" / name)
    else:
        assert (tmp_path / f"a-{name}").read_bytes() == (tmp_path / f"b-{name}").read_bytes()


class Breaks(Exception):
    pass


def break_after(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, done = save._png, iter(range(n))

    def png(image: np.ndarray) -> bytes:
        if next(done, None) is None:
            raise Breaks
        return whole(image)

    monkeypatch.setattr(save, "_png", png)


def test_a_broken_off_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        break_after(3, patch)
        with pytest.raises(Breaks):
            save_images(shapes(8), out)
    assert len(list(out.glob("*.png"))) == 3
    (out / "000001.png").write_bytes((out / "000001.png").read_bytes()[:-3])  # a disk that was full
    (out / ".000003.png.0123abcd.png").write_bytes(b"half a fi")  # left behind by a kill
    source, made, progress = shapes(8), list[int](), list[int]()
    monkeypatch.setattr("ganeval.images.shapes.render", lambda i, **how: made.append(i) or render(i, **how))
    assert save_images(source, out, progress=progress.append) == Saved(written=6, kept=2)
    assert made == [1, 3, 4, 5, 6, 7]
    assert progress == [2, 1, 1, 1, 1, 1, 1]
    assert save_images(shapes(8), tmp_path / "straight").written == 8
    assert contents(out) == contents(tmp_path / "straight")


def test_a_run_may_grow_but_not_shrink(tmp_path: Path) -> None:
    save_images(shapes(3), tmp_path / "out")
    assert save_images(shapes(6), tmp_path / "out") == Saved(written=3, kept=3)
    save_images(shapes(6), tmp_path / "straight")
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")
    with pytest.raises(InputError, match="another run \\(n: 6, now 4\\)"):
        save_images(shapes(4), tmp_path / "out")


@pytest.mark.parametrize("name", ["out.zip", "out.npz"])
def test_an_archive_is_whole_or_not_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: object, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        yield 0, render(0, size=16)
        raise Breaks

    with monkeypatch.context() as patch:
        patch.setattr(save._Run, "images", stop)
        with pytest.raises(Breaks):
            save_images(shapes(3), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    assert save_images(shapes(3), tmp_path / name) == Saved(3, 0)
    assert save_images(shapes(3), tmp_path / name) == Saved(0, 3)


def test_what_is_there_already_iv(tmp_path: Path) -> None:
    save_images(shapes(2), tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match="another run \\(spec: dataset:shapes:16@3, now dataset:shapes-plain"):
        save_images(shapes(2, "dataset:shapes-plain:16@3"), tmp_path / "out")
    (tmp_path / "out" / "cat.jpg").touch()
    with pytest.raises(InputError, match="holds other things \\(cat.jpg\\)"):
        save_images(shapes(2), tmp_path / "out")
    (tmp_path / "out" / "cat.jpg").unlink()
    assert contents(tmp_path / "out") == before

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "000000.png").touch()
    with pytest.raises(InputError, match="mine holds other things \\(000000.png\\)"):
        save_images(shapes(2), tmp_path / "mine")
    (tmp_path / "out" / MANIFEST).write_text("{}")
    with pytest.raises(InputError, match=f"its {MANIFEST} does not name the run"):
        save_images(shapes(2), tmp_path / "out")

    (tmp_path / "a.zip").write_text("something else")
    with pytest.raises(InputError, match=r"a.zip exists, and was not written by this command"):
        save_images(shapes(2), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_text() == "something else"
    save_images(shapes(2), tmp_path / "b.npz")
    with pytest.raises(InputError, match=r"another run \(n: 2, now 3\)"):
        save_images(shapes(3), tmp_path / "b.npz")


def test_overwrite_replaces_a_run_and_leaves_what_is_of_no_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    save_images(shapes(5), out)
    (out / "cat.jpg").touch()
    assert save_images(shapes(2, "dataset:shapes-plain"), out, overwrite=True) == Saved(2, 0, ("cat.jpg",))
    assert sorted(contents(out)) == ["000000.png", "000001.png", "cat.jpg", MANIFEST]
    np.testing.assert_array_equal(pixels(out / "000001.png"), render(1, variant="plain"))
    (out / MANIFEST).unlink()  # now these could be anybody's
    assert save_images(shapes(1), out, overwrite=True) == Saved(1, 0, ("000001.png", "cat.jpg"))
    save_images(shapes(2), tmp_path / "a.zip")
    assert save_images(shapes(1), tmp_path / "a.zip", overwrite=True) == Saved(1, 0)


def test_bad_input_iv(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has only 2 images; 3 were requested"):
        save_images(shapes(2), tmp_path / "out", n=3)
    with pytest.raises(InputError, match="at least 1; got 0"):
        save_images(shapes(2), tmp_path / "out", n=0)
    with pytest.raises(InputError, match=r"a folder, a \.zip or a \.npz"):
        save_images(shapes(2), tmp_path / "out.tar")
    with pytest.raises(InputError, match="its folder does not exist"):
        save_images(shapes(2), tmp_path / "none" / "out.zip")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is not a folder"):
        save_images(shapes(2), tmp_path / "file" / "out")
    with pytest.raises(InputError, match="is not a folder"):
        save_images(shapes(2), tmp_path / "file")
    mixed = open_images([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)])
    with pytest.raises(InputError, match="8 x 8 and 9 x 8 pixels .* holds one size"):
        save_images(mixed, tmp_path / "out.npz", n=2)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert save_images(mixed, tmp_path / "out", n=2).written == 2


def test_a_source_that_cannot_be_entered_in_the_middle(tmp_path: Path) -> None:
    """A generator: all its images are made again, only those that are missing are written."""

    def generator(z: torch.Tensor) -> torch.Tensor:
        return z.reshape(-1, 1, 2, 2).expand(-1, 3, 2, 2).tanh()

    generator.latent_dim = 4  # type: ignore[attr-defined]

    def source(n: int) -> ImageSource:
        return open_images(generator, num_samples=n, value_range=(-1, 1))

    save_images(source(3), tmp_path / "out")
    (tmp_path / "out" / "000001.png").unlink()
    assert save_images(source(5), tmp_path / "out", batch_size=2) == Saved(3, 2)
    save_images(source(5), tmp_path / "straight")
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")
    assert len({pixels(tmp_path / "out" / f"{i:06d}.png").tobytes() for i in range(5)}) == 5
