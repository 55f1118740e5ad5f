"""Arguments of the usual kinds are taken everywhere in the Python interface; others are an error that names them."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.ranks import dots, image_sets

import ganeval
from ganeval.engine.config import NOT_IN_EVALUATOR, EvaluationConfig, StatisticsConfig, all_options
from ganeval.errors import ConfigError, GanEvalError, InputError, NotEnoughSamplesError
from ganeval.features.cache import open_cache
from ganeval.features.devices import choose_device
from ganeval.parsing.arguments import DEVICE, option

REAL, FAKE = image_sets()
ON: dict[str, Any] = {"protocol": "compact", "device": "cpu", "batch_size": 16}


class Named:
    """A path-like that is neither text nor a Path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("device", [torch.device("cpu"), None, "cpu:0", torch.device("cpu", 0), "auto", "CPU"])
def test_devices(device: Any) -> None:
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert choose_device(device) == torch.device("cpu")
    assert DEVICE("device", torch.device("cuda", 1)) == "cuda:1"


@pytest.mark.parametrize("device", [0, 1.5, b"cpu", ["cpu"], torch.float32])
def test_what_is_no_device(device: Any) -> None:
    with pytest.raises(ConfigError, match=r"device must be .* a torch.device or None; got "):
        choose_device(device)


def test_a_device_that_is_not_here() -> None:
    with pytest.raises(ConfigError, match=r"--device \(device=\): this machine has no device 'cuda:99'"):
        ganeval.evaluate(REAL, FAKE, **{**ON, "device": torch.device("cuda", 99)})


@pytest.mark.parametrize("metrics", ["fid,kid", " fid , kid ", ["fid", "kid"], np.array(["fid", "kid"])])
def test_metrics_by_name(metrics: Any) -> None:
    assert EvaluationConfig(metrics=metrics).metrics == ("fid", "kid")


def test_every_door_takes_the_usual_kinds(tmp_path: Path) -> None:
    np.save(tmp_path / "real.npy", REAL)
    usual = {**ON, "batch_size": np.int32(16), "seed": np.uint8(0), "workers": 0.0, "feature_memory": 64e6}
    found = ganeval.evaluate(
        Named(tmp_path / "real.npy"), FAKE, metrics="fid,pr", num_real=40.0, num_fake=torch.tensor(50), **usual
    )
    assert list(found.results) == ["fid", "precision", "recall", "density", "coverage"]
    plain = ganeval.evaluate(REAL, FAKE, metrics=("fid",), num_real=40, num_fake=50, **ON)
    assert float(found["fid"]) == float(plain["fid"])
    assert ganeval.build_statistics(REAL, num=np.int64(40), shard=np.array([1, 2]), **usual).n == 20
    with ganeval.Evaluator(REAL, metrics="kid", num_real=np.float64(40), **usual) as evaluator:
        evaluator.update_from(dots(), 3e1, value_range=np.array([-1, 1]))  # type: ignore[arg-type]
        assert evaluator.compute()["kid"].n_real == 40
    walked = ganeval.path_length(
        dots(), pairs=12.0, latent_dim=np.int64(5), value_range=[-1, 1], distance="compact", device=torch.device("cpu"),
        resize=np.int16(64), epsilon=np.float32(1e-3),
    )  # fmt: skip
    assert walked.n_fake == 12
    assert ganeval.open_images(REAL, num=np.int64(3)).length == 3
    assert open_cache(Named(tmp_path / "cache")).folder == tmp_path / "cache"  # type: ignore[arg-type,union-attr]


WRONG: list[tuple[str, Any, str]] = [
    ("num_real", 8.5, "a whole number or None; got 8.5"),
    ("num_real", True, "a whole number or None; got True"),
    ("num_fake", np.bool_(True), "a whole number or None; got "),
    ("num_samples", "40", "a whole number or None; got '40'"),
    ("batch_size", [16], r"a whole number or None; got \[16\]"),
    ("seed", None, "a whole number; got None"),
    ("seed", float("nan"), "a whole number; got nan"),
    ("feature_memory", float("inf"), "a whole number; got inf"),
    ("workers", "two", "a whole number or None; got 'two'"),
    ("level", "0.9", "a number; got '0.9'"),
    ("metrics", 5, "names of metrics, in a list or separated by commas, or None; got 5"),
    ("metrics", [5], r"got \[5\]"),
    ("protocol", None, "the name of a protocol, a Protocol or a CustomNetwork; got None"),
    ("latent_dim", 8.5, "a positive whole number, or several, or None; got 8.5"),
    ("latent_dim", (), r"got \(\)"),
    ("latent_dim", (100, True), r"got \(100, True\)"),
    ("value_range", "0,1", "two finite numbers in order, such as"),
    ("value_range", (0, 1, 2), "two finite numbers in order, such as"),
    ("data_root", 5, "a path or None; got 5"),
    ("weights", 5, "a path, or paths by network, or None; got 5"),
    ("weights", {"inception": 5}, "a path, or paths by network, or None; got "),
    ("download", "yes", "True or False; got 'yes'"),
    ("compile", 1, "True or False; got 1"),
    ("on_error", 5, "a string; got 5"),
    ("reference", 5, "a string or None; got 5"),
    ("progress", True, "a function or None; got True"),
    ("cache", 5, "True, False, a folder, a FeatureCache or None; got 5"),
    ("neighbours", 2.5, "a whole number or None; got 2.5"),
    ("kid_subsets", 10, "two whole numbers"),
    ("strict", "no", "True or False or None; got 'no'"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_another_kind_is_an_error_that_names_the_argument(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} must be .*{expected}"):
        ganeval.evaluate(REAL, FAKE, **{**ON, name: value})


def test_the_other_doors_name_the_argument_too() -> None:
    calls = {
        "num": lambda bad: ganeval.build_statistics(REAL, **ON, num=bad),
        "shard": lambda bad: ganeval.build_statistics(REAL, **ON, shard=bad),
        "rows": lambda bad: ganeval.build_statistics(REAL, **ON, rows=bad),
        "sample_rows": lambda bad: ganeval.build_statistics(REAL, **ON, sample_rows=bad),
        "timeout": lambda bad: ganeval.Evaluator(REAL, **ON, timeout=bad),
        "log": lambda bad: ganeval.Evaluator(REAL, **ON, log=bad),
        "pairs": lambda bad: ganeval.path_length(dots(), distance="compact", pairs=bad),
        "distance": lambda bad: ganeval.path_length(dots(), value_range=(-1, 1), device="cpu", distance=bad),
        "seed": lambda bad: ganeval.open_images(REAL, seed=bad),
        "size": lambda bad: ganeval.CustomNetwork(network=len, size=bad, resize="pil-bicubic", scale="x"),
    }
    for name, call in calls.items():
        with pytest.raises(ConfigError, match=rf"^{name} must be .*; got <object"):
            call(object())
    with pytest.raises(ConfigError, match="unknown argument 'num_sample'. Did you mean num_samples"):
        ganeval.build_statistics(REAL, **ON, num_sample=5)


def test_signatures_and_docstrings_come_from_the_declarations() -> None:
    """One declaration for an option: what ``evaluate`` takes is what the classes declare, with their defaults."""
    for call, declaration, more in (
        (ganeval.evaluate, EvaluationConfig, set()),
        (ganeval.build_statistics, StatisticsConfig, set()),
        (ganeval.Evaluator.__init__, EvaluationConfig, {"reference_as", "log", "keep_on_device", "timeout"}),
    ):
        parameters = inspect.signature(call).parameters.values()
        given = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        declared = {name: one.default for name, one in all_options(declaration).items()}
        if more:
            declared = {name: default for name, default in declared.items() if name not in NOT_IN_EVALUATOR}
        assert {name: default for name, default in given.items() if name not in more} == declared
        assert all(f"    {name}: " in (call.__doc__ or "") for name in declared)


def test_typed_dictionaries_for_editors_are_what_the_declarations_say() -> None:
    from ganeval.engine import signatures

    script = Path(__file__).resolve().parents[2] / "scripts" / "write_signatures.py"
    assert runpy.run_path(str(script))["text"]() == Path(signatures.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("images", "advice"),
    [
        (REAL[:1], r"found 1 image in ndarray 1x.*\. Give an array of more images"),
        ([REAL[:1]], "found 1 image in list.* Give a DataLoader or an iterable"),
        (torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(REAL[:1]).permute(0, 3, 1, 2))),
         "found 1 image in DataLoader.* Give a DataLoader or an iterable"),
        ("dataset:shapes@1", r"dataset:shapes@1\. Have it make more of them: num_samples"),
    ],
)  # fmt: skip
def test_the_advice_fits_the_source(images: Any, advice: str) -> None:
    options = {**ON, **({"num_samples": 1} if isinstance(images, str) else {})}
    with pytest.raises(NotEnoughSamplesError, match=advice):
        ganeval.evaluate(images, FAKE, **options)


def test_messages_name_both_forms(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"--on-error skip \(on_error='skip'\)"):
        ganeval.evaluate(folder, FAKE, **ON)
    with pytest.raises(ConfigError, match=r"--num-samples \(num_samples=\) says how many"):
        ganeval.evaluate(REAL, FAKE, **ON, num_samples=5)
    with pytest.raises(ConfigError, match=r"held-out real images; give --test \(test=\)"):
        ganeval.evaluate(REAL, FAKE, **ON, metrics="ct")
    found = ganeval.evaluate(REAL[:40], FAKE[:40], **ON, metrics="kid", trace="svd")
    assert any("--trace (trace=) has no effect here" in note for note in found.notes)


def test_an_option_in_both_forms() -> None:
    assert option("num_samples") == "--num-samples (num_samples=)"
    assert option("on_error", "skip") == "--on-error skip (on_error='skip')"
    assert issubclass(ConfigError, GanEvalError)
