"""Two models on the same latents, end to end: what is proven, and how much it brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganeval.api import build_statistics, evaluate
from ganeval.cli.main import main
from ganeval.gate.verdict import judge
from ganeval.generators.load import open_source
from ganeval.metrics.difference import Measurement, difference
from ganeval.result_files import Record, read_record, write_record

N = 700
RUN = {"num_samples": N, "protocol": "compact", "device": "cpu"}


class Blobs(nn.Module):
    """Smooth pictures of a latent; ``shift`` makes another, slightly worse model."""

    latent_dim, value_range = 48, (-1.0, 1.0)

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, z: Tensor) -> Tensor:
        coarse = z.reshape(-1, 3, 4, 4)
        return torch.tanh(nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic") * (1 + self.shift))


@pytest.fixture(scope="module")
def runs() -> dict[str, Record]:
    reference = build_statistics("dataset:shapes@1", rows=True, **RUN)

    def measured(model: nn.Module, seed: int = 0) -> Record:
        options = {"metrics": ("fid", "kid"), "reference": "sample", "seed": seed, **RUN}
        return Record.of(evaluate(reference, model, **options))

    return {"old": measured(Blobs()), "new": measured(Blobs(0.02)), "fresh": measured(Blobs(0.02), seed=5)}


def differ(a: Record, b: Record, name: str) -> tuple[float, float, str]:
    one, other = (Measurement(result=r.evaluation[name], arrays=r.arrays, missing=r.missing) for r in (a, b))
    found = difference(one, other)
    return found.value, found.standard_error, found.how


@pytest.mark.parametrize("name", ["fid", "kid"])
def test_pairing_finds_what_independent_errors_cannot(name: str, runs: dict[str, Record]) -> None:
    """The same difference with an error several times smaller; other seeds are not paired."""
    value, error, how = differ(runs["old"], runs["new"], name)
    assert how == "paired"
    unpaired, larger, other = differ(runs["old"], runs["fresh"], name)
    assert other == "shared reference"
    assert error < larger / 4
    assert abs(unpaired - value) < 4 * larger  # the same truth, seen through more noise
    bare = Record(name="B.json", evaluation=runs["new"].evaluation, missing="gone")
    assert differ(runs["old"], bare, name)[2] == "independent"


def test_a_small_regression_is_decided_when_paired(runs: dict[str, Record]) -> None:
    """A thousandth of the distance, a fraction of the error of either run, and yet beyond doubt."""
    from support.gates import gate

    old = runs["old"].evaluation["fid"]
    value, error, _ = differ(runs["old"], runs["new"], "fid")
    assert 0 < value < 0.002 * old.value
    assert value < 0.2 * (old.standard_error or 0.0)  # no interval of one run could tell
    assert value > 3 * error
    margin = value / 3
    rules = gate({"fid": {"max-regression": {"abs": margin}}})
    assert judge(rules, runs["new"], runs["old"]).exit_code == 1
    assert judge(rules, runs["old"], runs["new"]).exit_code == 0
    assert judge(rules, runs["fresh"], runs["old"]).exit_code == 3


def test_pairs_survive_the_files(runs: dict[str, Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("old", "new"):
        write_record(runs[name].evaluation, tmp_path / f"{name}.json")
    again = {name: read_record(tmp_path / f"{name}.json") for name in ("old", "new")}
    assert differ(again["old"], again["new"], "fid") == differ(runs["old"], runs["new"], "fid")
    assert main(["compare", str(tmp_path / "old.json"), str(tmp_path / "new.json")]) == 0
    assert capsys.readouterr().out.count("(paired)") == 2


# --- what stands for a latent -------------------------------------------------------------------------------------


def test_digests_are_of_latent_and_label_alone() -> None:
    def digests(model: object, n: int = 20, **options: object) -> list[int]:
        source = open_source(model, **{"num_samples": n, "seed": 3, **options})
        found = source.input_digests()
        assert found is not None
        assert found.dtype == np.uint64
        return found.tolist()

    one = digests(Blobs())
    assert len(set(one)) == 20
    assert digests(Blobs(0.5)) == one
    assert digests(Blobs(), n=30)[:20] == one
    assert not set(digests(Blobs(), seed=4)) & set(one)
    labelled = lambda z, y: Blobs()(z)  # noqa: E731
    options = {"latent_dim": 48, "value_range": (-1, 1)}
    assert not set(digests(labelled, num_classes=10, **options)) & set(one)
    source = open_source(Blobs(), num_samples=20, seed=3, num=5)
    assert set(source.input_digests().tolist()) < set(one)  # type: ignore[union-attr]


def test_a_sampler_of_ones_own_is_proof_only_if_it_repeats() -> None:
    class Steady(Blobs):
        def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
            return torch.randn(n, 48, generator=generator)

    class Restless(Blobs):
        def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
            return torch.from_numpy(np.random.default_rng().standard_normal((n, 48), np.float32))

    class Global(Blobs):
        def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
            return torch.randn(n, 48)

    for model, same in ((Steady(), True), (Restless(), False), (Global(), True)):
        assert len(set(open_source(model, num_samples=9).input_digests())) == 9  # type: ignore[arg-type]
        one, again = (open_source(model, num_samples=9).input_digests() for _ in range(2))
        assert np.array_equal(one, again) == same  # type: ignore[arg-type]


def test_a_translation_is_made_of_its_source_image() -> None:
    def translated(gain: float, spec: str = "dataset:shapes@1") -> np.ndarray:
        from ganeval.generators.translated import TranslatedSource

        inner = open_source(spec, num_samples=20)
        source = TranslatedSource("t", inner, lambda x: (gain * x).clamp(-1, 1), (-1.0, 1.0))  # type: ignore[arg-type]
        assert source.input_digests() is None  # nothing was drawn yet
        list(source.batches(7))
        found = source.input_digests()
        assert found is not None
        return found

    assert np.array_equal(translated(1.0), translated(0.5))
    assert not set(translated(1.0)) & set(translated(1.0, "dataset:shapes@2"))


def test_folders_tell_nothing() -> None:
    assert open_source("dataset:shapes@1", num_samples=5).input_digests() is None
