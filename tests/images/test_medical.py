"""Slices of DICOM and NIfTI files that their own libraries wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ganeval.api import evaluate
from ganeval.errors import ConfigError, InputError
from ganeval.images.open import open_images
from ganeval.images.types import ImageSource

nibabel = pytest.importorskip("nibabel", reason="needs ganeval[medical]")
pydicom = pytest.importorskip("pydicom", reason="needs ganeval[medical]")
WINDOW = (-160.0, 240.0)


def write_dicom(path: Path, values: np.ndarray, series: str, *, photometric: str = "MONOCHROME2") -> None:
    """Values in Hounsfield units, stored with slope 2 and intercept -1024."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SeriesInstanceUID, data.SOPClassUID, data.SOPInstanceUID = series, CTImageStorage, generate_uid()
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.RescaleSlope, data.RescaleIntercept = 2, -1024
    data.PixelData = ((values + 1024) // 2).astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path)


def hounsfield(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-500, 500, shape) * 2


def levels(values: np.ndarray) -> np.ndarray:
    low, high = WINDOW
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low)) + np.float32(0.5)
    return np.floor(np.clip(scaled, 0, 255)).astype(np.uint8)


def pixels(source: ImageSource) -> np.ndarray:
    return np.concatenate([np.asarray(batch.images) for batch in source.batches(16)])


def test_slices_are_windowed_and_grouped(tmp_path: Path) -> None:
    slices = [hounsfield(i, 20, 24) for i in range(4)]
    for i, values in enumerate(slices):
        write_dicom(tmp_path / f"{i}.dcm", values, series=f"1.2.{i // 2}")
    volume = hounsfield(9, 24, 20, 3).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "brain.nii.gz")
    (tmp_path / "notes.txt").write_text("x")
    source = open_images(f"medical:{tmp_path}", value_range=WINDOW)
    expected = np.stack([levels(values) for values in (*slices, *volume.transpose(2, 1, 0))])
    assert np.array_equal(pixels(source), np.repeat(expected[:, None], 3, axis=1))
    groups = source.groups()
    assert groups is not None
    assert sorted(set(groups.values())) == ["1.2.0", "1.2.1", "brain.nii.gz"]
    assert source.describe()["volumes"] == 3
    assert source.decode_policy == "range:-160,240"


def test_low_values_of_monochrome1_are_white(tmp_path: Path) -> None:
    values = hounsfield(1, 16, 16)
    write_dicom(tmp_path / "a.dcm", values, "1", photometric="MONOCHROME1")
    assert np.array_equal(pixels(open_images(f"medical:{tmp_path}", value_range=WINDOW))[0, 0], 255 - levels(values))


def test_files_without_a_suffix(tmp_path: Path) -> None:
    write_dicom(tmp_path / "IM0001", hounsfield(1, 16, 16), "1")
    assert open_images(f"medical:{tmp_path}", value_range=WINDOW, any_suffix=True).length == 1
    with pytest.raises(InputError, match="holds no file of .dcm"):
        open_images(f"medical:{tmp_path}", value_range=WINDOW)


@pytest.mark.filterwarnings("ignore::ganeval.errors.GanEvalWarning")
def test_a_run_counts_series(tmp_path: Path) -> None:
    for side in ("real", "fake"):
        for i in range(40):
            write_dicom(tmp_path / side / f"{i}.dcm", hounsfield(i + 100 * (side == "fake"), 16, 16), f"1.{i // 4}")
    sides = [f"medical:{tmp_path / side}" for side in ("real", "fake")]
    result = evaluate(*sides, value_range=WINDOW, protocol="compact", device="cpu")["fid"]
    assert (result.n_real, result.details["degrees_of_freedom"]) == (40, 9)
    assert result.protocol.decode == "range:-160,240"


def test_bad_input_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs the window"):
        open_images(f"medical:{tmp_path}")
    with pytest.raises(InputError, match="no such file or folder"):
        open_images(f"medical:{tmp_path / 'missing'}", value_range=WINDOW)
    for name in ("a.dcm", "a.nii", "a.nii.gz"):
        path = tmp_path / name
        path.write_bytes(b"not one of those")
        with pytest.raises(InputError, match="cannot be read as"):
            open_images(f"medical:{path}", value_range=WINDOW)
