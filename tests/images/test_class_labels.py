"""Labels of a conditional generator: of (seed, i) alone, at the frequencies that were asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

import ganeval
from ganeval.cli.main import main
from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.evaluator import Evaluator
from ganeval.generators.load import open_source
from ganeval.images.class_labels import frequencies_of, read_labels
from ganeval.images.open import open_images
from ganeval.images.options import LikeReal

ON: dict[str, Any] = {"protocol": "compact", "device": "cpu", "latent_dim": 2, "num_classes": 2}


def make(z: Tensor, labels: Tensor) -> Tensor:
    """Dark images of class 0, bright ones of class 1, with a pattern that the latent seeds."""
    seeds = (z[:, 0].abs() * 1e6).long().tolist()
    small = np.stack([np.random.default_rng(seed).random((3, 4, 4)) for seed in seeds])
    values = 100 * torch.from_numpy(small).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return torch.where(labels[:, None, None, None] == 0, values, 255 - values).to(torch.uint8)


def labels_of(n: int = 60, **options: Any) -> list[int]:
    source = open_images(make, num_samples=n, latent_dim=2, **options)
    found = source.labels()
    assert found is not None
    return [int(label) for label in found]


def real(n: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n, generator=random) >= share).long()
    return make(torch.randn(n, 2, generator=random), labels), labels


@pytest.mark.parametrize("options", [
    {}, {"label_distribution": "uniform"}, {"label_distribution": "balanced"},
    {"label_distribution": LikeReal((0.5, 0.25, 0.25, 0.0, 0.0))},
])  # fmt: skip
def test_labels_are_of_seed_and_number_alone_batch(options: dict[str, Any]) -> None:
    options = {**options, "num_classes": 5}
    whole = labels_of(60, **options)
    assert labels_of(20, **options) == whole[:20]
    assert labels_of(60, seed=1, **options) != whole
    source = open_images(make, num_samples=60, latent_dim=2, **options)
    parts = [source.shard(number, 3) for number in (1, 2, 3)]  # type: ignore[attr-defined]
    assert [int(label) for part in parts for label in part.labels()] == whole
    some = source.subset(9, seed=4)
    rows = np.sort(np.random.default_rng(4).choice(60, 9, replace=False, shuffle=False))
    assert some.labels() == [str(whole[row]) for row in rows]


def test_frequencies() -> None:
    balanced = labels_of(60, num_classes=5, label_distribution="balanced")
    assert [balanced.count(k) for k in range(5)] == [12] * 5
    for n in (7, 23):
        counts = [labels_of(n, num_classes=5, label_distribution="balanced").count(k) for k in range(5)]
        assert max(counts) - min(counts) <= 1
    assert len({tuple(balanced[i : i + 5]) for i in range(0, 60, 5)}) > 6  # in another order every time
    drawn = labels_of(4000, num_classes=3, label_distribution=LikeReal((0.7, 0.0, 0.3)))
    assert drawn.count(1) == 0
    for start, stop in ((0, 4000), (0, 50), (1000, 1200)):  # of any run, not only on average
        assert abs(drawn[start:stop].count(0) - 0.7 * (stop - start)) < 4
    many = labels_of(2000, num_classes=1000, label_distribution=LikeReal((0.001,) * 1000))
    assert max(many.count(k) for k in range(1000)) <= 4


def test_classes_are_numbered_as_torchvision_does() -> None:
    assert frequencies_of(["dog", "cat", "cat", "dog", "dog", "dog"], None, 3, "x") == (2 / 6, 4 / 6, 0)
    assert frequencies_of(["10", "3", "3", "3"], None, 11, "x")[3] == 0.75  # numbers of a data set are themselves
    assert frequencies_of(["10", "2"], ["10", "2"], 2, "x") == (0.5, 0.5)  # and names of folders are sorted as text
    assert frequencies_of(["b", "b"], ["c", "b"], 2, "x") == (0, 1)
    with pytest.raises(InputError, match=r"like-real: x has 3 classes \(a, b, c\), the generator 2"):
        frequencies_of(["a", "b", "c"], None, 2, "x")


@pytest.mark.parametrize("label", ["2", "30000000", "9" * 17])
def test_a_large_label_costs_nothing(label: str) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"x has \d+ classes \(0, 1, 2.*the generator 2"):
            frequencies_of(["1", label] * 10, None, 2, "x")
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.nightly
def test_a_perfect_conditional_generator(tmp_path: Path) -> None:
    """KID, which has no bias, covers 0 at the reals' frequencies, and does not at uniform ones; the distance falls."""
    data = TensorDataset(*real(700, 0.9, 11))
    both = {**ON, "metrics": ("fid", "kid"), "num_samples": 700}
    uniform = ganeval.evaluate(data, make, **both)
    assert uniform["kid"].interval.low > 0.1  # type: ignore[union-attr]
    (note,) = [note for note in uniform.notes if "not equally frequent" in note]
    assert "uniform over 2 classes" in note
    run = ganeval.evaluate(data, make, label_distribution="like-real", **both)
    assert run["fid"].corrected < 0.05 * uniform["fid"].corrected  # type: ignore[operator]
    interval = run["kid"].interval
    assert interval is not None
    assert interval.low < 0 < interval.high
    assert not [note for note in run.notes if "not equally frequent" in note]
    assert [note for note in run.notes if re.search(r"drawn with REAL's class frequencies \(0: [89]", note)]
    assert run.fake["label_distribution"] == "like-real"
    assert run.fake["class_frequencies"][0] == pytest.approx(0.9, abs=0.04)  # type: ignore[index]
    with Evaluator(data, label_distribution="like-real", **ON) as evaluator:
        evaluator.update_from(make, 300)
        evaluator.update_from(make, 400)
        assert evaluator.compute()["fid"].value == pytest.approx(run["fid"].value, rel=1e-9)
    # class folders, from the command line
    images, labels = data.tensors
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for i, (image, label) in enumerate(zip(images[:80], labels[:80], strict=True)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "ab"[int(label)] / f"{i}.png")
    folder = ganeval.evaluate(tmp_path, make, num_samples=50, label_distribution="like-real", **ON)
    assert folder.fake["class_frequencies"] == [float((labels[:80] == k).double().mean()) for k in (0, 1)]


def test_given_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = [1, 0, 0, 1, 1, 0]
    file = tmp_path / "labels.txt"
    file.write_text("\n".join(map(str, wanted)) + "\n")
    for given in (wanted, np.array(wanted), torch.tensor(wanted), file, str(file)):
        source = open_images(make, latent_dim=2, num_classes=2, labels=given)  # their number is that of the images
        assert source.labels() == [str(label) for label in wanted]
        assert source.describe()["label_distribution"] == "given"
    with Evaluator(real(20, 0.5, 0)[0], labels=wanted, metrics=["kid"], **ON) as evaluator:
        evaluator.update_from(make, 4)
        evaluator.update_from(make, 2)
        with pytest.raises(InputError, match="labels holds 6 labels for 8 images"):
            evaluator.update_from(make, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0, 1, 2]}, r"labels: label 2 of image 2 is out of range; expected 0 to 1"),
        ({"labels": [0, -1]}, r"label -1 of image 1 is out of range"),
        ({"labels": [0, 1], "num_samples": 3}, "labels holds 2 labels for 3 images"),
        ({"labels": [0.5]}, "labels: entry 0 is not a whole number: '0.5'"),
        ({"labels": []}, "holds no labels"),
        ({"labels": "missing.txt"}, "cannot be read from missing.txt: No such file"),
        ({"labels": [0], "label_distribution": "balanced"}, "give one of them"),
        ({"label_distribution": "like-real", "num_samples": 3}, "needs real images with labels"),
        (
            {"label_distribution": "skewed", "num_samples": 3},
            "must be one of .*like-real; got 'skewed'",
        ),
        ({"label_distribution": "balanced", "num_samples": 3, "num_classes": None}, "say how many classes there are"),
    ],
)
def test_iv(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_images(make, latent_dim=2, **{"num_classes": 2, **options})


def test_files_of_labels_iv(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    for text, message in (
        ("0\ncat\n", r"labels.txt: line 2 is not a whole number: 'cat'"),
        ("0\n\n1\n", "line 2 is not a whole number: ''"),
        ("1e3\n", "line 1 is not a whole number"),
        ("9" * 500, "line 1 is out of range"),
        ("\n\n", "holds no labels"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            read_labels(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is not a text file"):
        read_labels(file)


def test_reals_without_labels_or_with_more_classes_iv() -> None:
    images, labels = real(20, 0.5, 0)
    like = {**ON, "num_samples": 10, "label_distribution": "like-real"}
    with pytest.raises(InputError, match="the labels of Tensor 20x3x16x16 are not known"):
        ganeval.fid(images, make, **like)
    with pytest.raises(InputError, match="takes the class frequencies of real images, and REAL does not hold"):
        ganeval.fid(ganeval.build_statistics(images, protocol="compact"), make, **like)
    with pytest.raises(InputError, match=r"has 4 classes \(0, 1, 2, 3\), the generator 2"):
        ganeval.fid(TensorDataset(images, labels + 2), make, **like)


def test_too_few_images_of_a_generator_iv() -> None:
    with pytest.raises(NotEnoughSamplesError, match=r"found 1 image in make. Have it make more of them: num_samples"):
        ganeval.fid(real(20, 0.5, 0)[0], make, num_samples=1, **ON)


def test_latents_of_several_axes_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The value of Python by option, by variable and by file, as a list and as a string, for every command."""
    (tmp_path / "threed.py").write_text(
        "import torch\n"
        "def g(z):\n"
        "    assert z.shape[1:] == (4, 1, 2), z.shape\n"
        "    return torch.sigmoid(z[:, :3].expand(-1, 3, 8, 2).repeat_interleave(4, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    np.save("real.npy", np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8))
    monkeypatch.syspath_prepend(str(tmp_path))
    spec, common = "gen:threed:g", ["--value-range", "0,1", "--device", "cpu"]
    import threed  # type: ignore[import-not-found]

    source = open_source(threed.g, num_samples=12, latent_dim=(4, 1, 2), value_range=(0, 1))
    expected = ganeval.evaluate("real.npy", source, metrics=("kid",), protocol="compact", device="cpu", cache=False)[
        "kid"
    ].value
    kid = ["kid", "real.npy", spec, "--protocol", "compact", "--num-samples", "12", *common, "--json", "--no-cache"]
    latent = ["--latent-dim", "4,1,2"]

    def value() -> float:
        import json

        return float(json.loads(capsys.readouterr().out)["results"]["kid"]["value"])

    assert main([*kid, *latent]) == 0
    assert value() == expected
    monkeypatch.setenv("GANEVAL_LATENT_DIM", "4,1,2")
    assert main(kid) == 0
    assert value() == expected
    monkeypatch.delenv("GANEVAL_LATENT_DIM")
    for text in ('latent-dim = "4,1,2"', "latent-dim = [4, 1, 2]"):
        Path("ganeval.toml").write_text(text)
        assert main(kid) == 0
        assert value() == expected
    Path("ganeval.toml").unlink()
    for command in (
        ["eval", *kid[1:-2], "--metrics", "kid,fid", "--no-cache"], ["fid", *kid[1:-2]],
        ["ppl", spec, "--pairs", "8", "--distance", "compact", "--epsilon", "0.01", *common],
        ["sample", spec, "-n", "3", "-o", "out", *common],
        ["stats", "build", spec, "--num-samples", "12", "--protocol", "compact", "-o", "s.npz", *common],
        ["check", spec, "--num-samples", "4", "--value-range", "0,1"],
    ):  # fmt: skip
        assert main([*command, *latent]) == 0, command
    capsys.readouterr()
    assert main([*kid, "--latent-dim", "4,0"]) == 2
