"""Arrays: in files of numpy and in memory, either layout, one image at a time."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.dispatch import Dispatched

from ganeval.errors import InputError
from ganeval.images.array import DeviceImages
from ganeval.images.open import open_images
from ganeval.images.types import ImageSource

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), dtype=np.uint8)
FLOATS = (IMAGES / 127.5 - 1).astype(np.float32)
RANGE = (-1.0, 1.0)


def pixels(source: ImageSource, **options: Any) -> np.ndarray:
    """All images, NHWC."""
    return np.concatenate([batch.images.permute(0, 2, 3, 1).numpy() for batch in source.batches(3, **options)])


def save(path: Path, array: np.ndarray, how: Callable[..., None]) -> Path:
    how(path, array)
    return path


WRITERS: dict[str, Callable[..., None]] = {"a.npy": np.save, "a.npz": np.savez, "b.npz": np.savez_compressed}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("workers", [0, 2])
def test_files_against_the_array(name: str, layout: str, workers: int, tmp_path: Path) -> None:
    array = IMAGES if layout == "NHWC" else np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    source = open_images(save(tmp_path / name, array, WRITERS[name]))
    np.testing.assert_array_equal(pixels(source, workers=workers), IMAGES)
    np.testing.assert_array_equal(pixels(source, workers=workers), IMAGES)  # from the start again
    np.testing.assert_array_equal(pixels(pickle.loads(pickle.dumps(source))), IMAGES)
    chosen = open_images(source, num=4, seed=1)
    rows = [int(n.removeprefix("#")) for batch in chosen.batches(9) for n in batch.names]
    np.testing.assert_array_equal(pixels(chosen), IMAGES[rows])
    assert source.describe() == {
        "spec": str(tmp_path / name),
        "kind": name[-3:],
        "n": 7,
        "subset": None,
        "layout": layout,
        "shape": list(array.shape),
        "dtype": "uint8",
        "value_range": None,
    }


@pytest.mark.parametrize("name", WRITERS)
def test_floats_in_files_are_rounded(name: str, tmp_path: Path) -> None:
    for dtype in ("<f4", ">f8"):
        path = save(tmp_path / name, FLOATS.astype(dtype), WRITERS[name])
        np.testing.assert_array_equal(pixels(open_images(path, value_range=RANGE)), IMAGES)


def test_fortran_order(tmp_path: Path) -> None:
    array = np.asfortranarray(IMAGES)
    for name in ("a.npy", "a.npz"):
        np.testing.assert_array_equal(pixels(open_images(save(tmp_path / name, array, WRITERS[name]))), IMAGES)
    with pytest.raises(InputError, match="compressed in Fortran order; save numpy.ascontiguousarray"):
        open_images(save(tmp_path / "b.npz", array, WRITERS["b.npz"]))


def test_an_array_after_others_in_the_archive(tmp_path: Path) -> None:
    """ADM's samples have labels beside them, and the statistics of its references stand before the images."""
    np.savez(tmp_path / "a.npz", IMAGES, np.arange(7))
    np.testing.assert_array_equal(pixels(open_images(tmp_path / "a.npz")), IMAGES)
    np.savez(tmp_path / "b.npz", mu=np.zeros(9), sigma=np.eye(9), arr_0=IMAGES)
    np.testing.assert_array_equal(pixels(open_images(tmp_path / "b.npz")), IMAGES)


@pytest.mark.parametrize("name", WRITERS)
def test_files_are_not_loaded_whole(name: str, tmp_path: Path) -> None:
    import tracemalloc

    array = np.zeros((200, 64, 64, 3), np.uint8)  # 2.5 MB
    source = open_images(save(tmp_path / name, array, WRITERS[name]))
    batches = source.batches(2)
    next(batches)
    tracemalloc.start()
    for _ in batches:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 3


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickled_objects_iv(name: str, tmp_path: Path) -> None:
    objects = np.array([{"image": 1}, None], dtype=object)
    with pytest.raises(InputError, match="pickled Python objects, which are never loaded"):
        open_images(save(tmp_path / name, objects, WRITERS[name]))


@pytest.mark.parametrize("name", WRITERS)
def test_nan_iv(name: str, tmp_path: Path) -> None:
    spoilt = FLOATS.copy()
    spoilt[4, 2, 2, 1] = np.nan
    source = open_images(save(tmp_path / name, spoilt, WRITERS[name]), value_range=RANGE)
    with pytest.raises(InputError, match="has an image that cannot be used: #4: it holds NaN"):
        source.check()
    with pytest.raises(InputError, match="#4: it holds NaN"):
        pixels(source)
    np.testing.assert_array_equal(pixels(source, on_error="skip"), np.delete(IMAGES, 4, axis=0))
    assert [name for name, _ in source.report.skipped] == ["#4"]


@pytest.mark.parametrize("name", WRITERS)
def test_floats_without_a_range_iv(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / name, FLOATS, WRITERS[name])
    with pytest.raises(InputError, match="images of float32 need a declared range of values. Pass --value-range"):
        open_images(path)
    with pytest.raises(InputError, match=r"7 of 7 images.*#0: its values reach from -.* outside the declared range 0"):
        open_images(path, value_range=(0, 1)).check()


def test_statistics_are_not_images_iv(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(InputError, match="holds reference statistics .mu, sigma., not images"):
        open_images(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=np.zeros(7))
    with pytest.raises(InputError, match="has no array 'arr_0'; it holds images, labels"):
        open_images(tmp_path / "b.npz")


@pytest.mark.parametrize("name", WRITERS)
def test_broken_files_iv(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / name, IMAGES, WRITERS[name])
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], b"no array at all" * 9, b""):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="is not a readable np"):
            open_images(path)


def test_damage_inside_a_compressed_array_iv(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", np.tile(IMAGES, (1, 20, 20, 1)), np.savez_compressed)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read here"):
        pixels(open_images(path))


def test_a_size_that_does_not_fit_iv(tmp_path: Path) -> None:
    path = save(tmp_path / "b.npy", IMAGES, np.save)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("arr_0.npy", path.read_bytes()[:-10])
    with pytest.raises(InputError, match="is not a readable npy array .its header declares the shape"):
        open_images(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), "holds no images"),
        (np.zeros((4, 4), np.uint8), "is not a set of images"),
        (np.zeros((2, 4, 4, 4), np.uint8), "Drop an alpha channel"),
        (np.zeros((3, 4, 4), np.uint8), "It may be one colour image"),
        (np.zeros((2, 4, 4, 3), np.int64), "int64 need a declared range.*--value-range 0,255"),
        (np.zeros((2, 4, 4, 3), bool), r"bool need a declared range.*--value-range 0,1 \(value_range=\(0, 1\)"),
    ],
)
def test_arrays_that_are_no_images_iv(array: np.ndarray, message: str, tmp_path: Path) -> None:
    for spec in (array, torch.from_numpy(array), save(tmp_path / "a.npy", array, np.save)):
        with pytest.raises(InputError, match=message):
            open_images(spec)


@pytest.mark.parametrize("workers", [0, 2])
def test_arrays_and_tensors_in_memory(workers: int) -> None:
    nchw = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    for spec in (IMAGES, nchw, torch.from_numpy(IMAGES), torch.from_numpy(nchw)):
        np.testing.assert_array_equal(pixels(open_images(spec), workers=workers), IMAGES)
    floats = torch.from_numpy(FLOATS).requires_grad_()
    np.testing.assert_array_equal(pixels(open_images(floats, value_range=RANGE), workers=workers), IMAGES)
    assert open_images(IMAGES).spec == "ndarray 7x6x5x3"
    assert open_images(torch.from_numpy(nchw)).spec == "Tensor 7x3x6x5"


def test_where_the_shape_leaves_it_open_numpy_is_nhwc_and_torch_nchw() -> None:
    array = np.random.default_rng(1).integers(0, 256, (2, 3, 8, 3), dtype=np.uint8)
    assert next(open_images(array).batches(2)).images.shape == (2, 3, 3, 8)
    assert next(open_images(torch.from_numpy(array)).batches(2)).images.shape == (2, 3, 8, 3)


class _Elsewhere(torch.Tensor):
    """A tensor that says it is on an accelerator, for a machine without one."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("meta")


def test_images_on_an_accelerator_stay_there_as_far_as_a_machine_without_one_can_tell() -> None:
    spoilt = torch.from_numpy(FLOATS).permute(0, 3, 1, 2).clone()
    spoilt[2, 0, 0, 0] = float("nan")
    source = open_images(spoilt.as_subclass(_Elsewhere), value_range=RANGE)
    first, *_, last = source.batches(2, on_error="skip", workers=3)
    assert first.digests is None
    assert isinstance(first.images, _Elsewhere)
    assert first.names == ["#0", "#1"]
    assert last.names == ["#5", "#6"]
    assert [name for name, _ in source.report.skipped] == ["#2"]
    np.testing.assert_array_equal(last.images.as_subclass(torch.Tensor).permute(0, 2, 3, 1), IMAGES[5:])
    with pytest.raises(InputError, match="#2: it holds NaN"):
        list(source.batches(2))
    with pytest.raises(InputError, match="#2: it holds NaN"):
        source.check()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_images_on_a_gpu_stay_there() -> None:
    for spec, value_range in ((IMAGES, None), (FLOATS, RANGE)):
        source = open_images(torch.from_numpy(spec).cuda(), value_range=value_range)
        source.check()
        batches = list(source.batches(3, workers=2))
        assert all(batch.images.is_cuda and batch.digests is None for batch in batches)
        np.testing.assert_array_equal(torch.cat([b.images for b in batches]).cpu().permute(0, 2, 3, 1), IMAGES)


def test_neighbours_of_a_tensor_on_an_accelerator_are_copied_without_their_numbers() -> None:
    """By a list of numbers they were gathered, behind a copy of the numbers that the host waited for."""
    tensor = torch.arange(6 * 12, dtype=torch.uint8).view(6, 3, 2, 2)
    images = DeviceImages("tensor", lambda: tensor, tuple(tensor.shape), "uint8", None, prefer="NCHW", what="it")
    with Dispatched() as operations:
        taken, _ = images.take([2, 3, 4])
    assert operations.count("index") == 0
    assert torch.equal(taken, tensor[2:5])
    tensor[2:5] += 1  # an iterable may fill the same tensor again
    assert not torch.equal(taken, tensor[2:5])
    assert torch.equal(images.take([0, 3, 5])[0], tensor[[0, 3, 5]])
    assert len(images.take([])[0]) == 0


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (np.arange(5), "its shape is (5,), not (6,)"),
        (np.eye(6, dtype=np.int64), "its shape is (6, 6), not (6,)"),
        (np.arange(6.0), "it holds float64, not whole numbers or text"),
        (np.arange(6) - 1, "not all of its values are labels"),
        (np.array([None] * 6), "it cannot be read"),
    ],
)
def test_labels_that_are_not_used_are_told(labels: np.ndarray, why: str, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images, labels)
    source = open_images(str(tmp_path / "x.npz"))
    assert source.labels() is None
    for _ in source.batches(4):
        pass
    assert [(note, n) for note, n in source.report.notes.items() if note.startswith("arr_1") and why in note and n == 6]
    np.savez(tmp_path / "y.npz", images, np.arange(6))
    source = open_images(str(tmp_path / "y.npz"))
    assert source.labels() == list("012345")
    assert len(list(source.batches(4))) == 2
    assert not source.report.notes
