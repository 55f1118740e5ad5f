"""Generators by name, from files and by import: what is opened, that its images are the same bits from every run, and
what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganeval.errors import GanEvalError, InputError, WeightsError
from ganeval.generators import checkpoint, load
from ganeval.generators.checkpoint import load_generator, save_generator
from ganeval.generators.cyclegan import TranslationGenerator
from ganeval.generators.dcgan import Generator
from ganeval.generators.load import open_source
from ganeval.images.generated import GeneratedSource
from ganeval.images.save import save_images
from ganeval.images.shapes import render
from ganeval.images.types import ImageSource
from ganeval.images.user_models import NOISE

PLAIN = "dataset:shapes-plain:16@3"


def dcgan() -> Generator:
    """With weights large enough that the images differ, and running statistics that matter."""
    torch.manual_seed(0)
    module = Generator(width=4, latent_dim=5)
    module(torch.randn(16, 5))
    return module.eval()


def translator() -> TranslationGenerator:
    torch.manual_seed(1)
    module = TranslationGenerator(width=4, blocks=1)
    for parameter in module.parameters():
        parameter.data.mul_(8)
    return module.eval()


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny networks under the names of those that ship."""
    folder = tmp_path_factory.mktemp("weights")
    save_generator(folder / "dcgan-cifar10.safetensors", dcgan(), "dcgan", {"data": "none"})
    for name in ("cyclegan-plain2striped", "cyclegan-striped2plain"):
        save_generator(folder / f"{name}.safetensors", translator(), "cyclegan")
    return folder


@pytest.fixture(autouse=True)
def _tiny(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WEIGHTS", shipped)


def pixels(source: ImageSource, batch_size: int = 64, **options: Any) -> Tensor:
    return torch.cat([batch.images for batch in source.batches(batch_size, **options)])


# --- what is opened ----------------------------------------------------------------------------------------------


def test_a_shipped_generator_against_its_module() -> None:
    source = open_source("gen:dcgan-cifar10", num_samples=5)
    latents = [np.random.Generator(np.random.Philox(key=[0, i])).standard_normal(5, dtype=np.float32) for i in range(5)]
    module = dcgan().half().float()
    with torch.no_grad():
        made = module(torch.from_numpy(np.stack(latents)))
    found = pixels(source)
    assert found.shape == (5, 3, 32, 32)
    assert len(torch.unique(found, dim=0)) == 5
    assert int((found.int() - (made * 127.5 + 128).to(torch.uint8).int()).abs().max()) <= 1
    described = source.describe()
    assert (described["spec"], described["model"], described["latents"]) == ("gen:dcgan-cifar10", "dcgan", [5])
    assert len(str(described["weights"])) == 64
    assert json.dumps(described)


@pytest.mark.parametrize("spec", ["gen:dcgan-cifar10", f"gen:cyclegan-plain2striped({PLAIN})"])
def test_images_are_the_same_bits_whatever_the_batch_size_batch(spec: str) -> None:
    expected = pixels(open_source(spec, num_samples=70))
    for n, batch_size, workers in ((70, 1, 0), (70, 7, 2), (70, 70, 0), (33, 16, 0)):
        assert torch.equal(pixels(open_source(spec, num_samples=n), batch_size, workers=workers), expected[:n])
    chosen = open_source(spec, num_samples=70, num=9, seed=0)
    names = [name for batch in chosen.batches(4) for name in batch.names]
    assert torch.equal(pixels(chosen), expected[[int(name.removeprefix("#")) for name in names]])
    assert chosen.describe()["subset"] == {"n": 9, "of": 70, "seed": 0}


def test_saved_images_are_the_same_bits_from_another_process(tmp_path: Path, shipped: Path) -> None:
    folder = tmp_path / "here"
    source = open_source("gen:dcgan-cifar10", num_samples=70)
    save_images(source, folder, n=66, batch_size=5)
    (folder / "000003.png").unlink()
    save_images(source, folder, n=70, batch_size=64)  # what is missing, and more
    code = (
        "import sys, torch; from pathlib import Path\n"
        "from ganeval.generators import load; from ganeval.cli.main import main\n"
        "load.WEIGHTS = Path(sys.argv[1]); torch.set_num_threads(int(sys.argv[3]))\n"
        "sys.exit(main(['sample', 'gen:dcgan-cifar10', '-n', '70', '-o', sys.argv[2], '--batch-size', '9', '-q',"
        " '--device', 'cpu']))"
    )
    there = tmp_path / "there"
    arguments = [sys.executable, "-c", code, str(shipped), str(there), str(torch.get_num_threads())]
    subprocess.run(arguments, check=True, env={**os.environ})
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in there.iterdir())
    assert len(names) == 71
    assert all((folder / name).read_bytes() == (there / name).read_bytes() for name in names)


def test_a_translation_against_its_module() -> None:
    source = open_source(f"gen:cyclegan-plain2striped({PLAIN})", num_samples=3)
    before = torch.stack([torch.from_numpy(render(i, seed=3, size=16, variant="plain")) for i in range(3)])
    module = translator().half().float()
    with torch.no_grad():
        made = module(before.permute(0, 3, 1, 2).float() / 127.5 - 1)
    found = pixels(source)
    assert int((found.int() - (made * 127.5 + 128).to(torch.uint8).int()).abs().max()) <= 1
    assert found.float().std() > 10
    assert source.labels() == open_source(PLAIN, num_samples=3).labels()
    described = source.describe()
    assert described["source"] == {
        "spec": PLAIN, "kind": "shapes", "subset": None, "variant": "plain", "size": 16, "seed": 3,
    }  # fmt: skip
    assert (described["kind"], described["n"], described["model"]) == ("translation", 3, "cyclegan")


def test_translations_nest_and_take_generators_and_folders(tmp_path: Path) -> None:
    back = open_source(f"gen:cyclegan-striped2plain(gen:cyclegan-plain2striped({PLAIN}))", num_samples=4)
    assert pixels(back).shape == (4, 3, 16, 16)
    assert pixels(open_source("gen:cyclegan-striped2plain(gen:dcgan-cifar10)", num_samples=2)).shape == (2, 3, 32, 32)
    folder = tmp_path / "images (1)"
    save_images(open_source(PLAIN, num_samples=5), folder)
    translated = open_source(f"gen:cyclegan-plain2striped({folder})")
    assert [name for batch in translated.batches(2) for name in batch.names] == [f"{i:06}.png" for i in range(5)]
    assert torch.equal(pixels(translated), pixels(open_source(f"gen:cyclegan-plain2striped({PLAIN})", num_samples=5)))
    (folder / "000002.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="000002.png"):
        translated.check()
    assert len(pixels(translated, on_error="skip")) == 4
    assert [name for name, _ in translated.report.skipped] == ["000002.png"]


def test_files(tmp_path: Path, shipped: Path) -> None:
    expected = pixels(open_source("gen:dcgan-cifar10", num_samples=3))
    save_generator(tmp_path / "generator.safetensors", dcgan(), "dcgan", {"steps": 5})
    for name in (tmp_path / "generator.safetensors", tmp_path / "generator.json", tmp_path):
        assert torch.equal(pixels(open_source(f"gen:{name}", num_samples=3)), expected)
    spec = f"gen:{shipped / 'cyclegan-plain2striped.safetensors'}({PLAIN})"
    assert torch.equal(
        pixels(open_source(spec, num_samples=2)),
        pixels(open_source(f"gen:cyclegan-plain2striped({PLAIN})", num_samples=2)),
    )


def test_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "g.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(dcgan().half().float(), torch.randn(2, 5)).save(path)  # type: ignore[no-untyped-call]
    source = open_source(f"gen:{path}", num_samples=3, latent_dim=5, value_range=(-1, 1))
    difference = pixels(source).int() - pixels(open_source("gen:dcgan-cifar10", num_samples=3)).int()
    assert int(difference.abs().max()) <= 1
    with pytest.raises(InputError, match="--latent-dim"):
        open_source(f"gen:{path}", num_samples=3, value_range=(-1, 1))
    with pytest.raises(InputError, match="declared range"):
        open_source(f"gen:{path}", num_samples=3, latent_dim=5).check()


MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    z_dim = 4
    def forward(self, z):
        return torch.tanh(z[:, :3, None, None]).expand(-1, -1, 8, 8)

class Both:
    net = Net()

net = Net()
number = 3

def function(z):
    return net(z)

def labelled(z, label):
    assert label.shape == (len(z),)
    return (label[:, None, None, None] * 20).to(torch.uint8).expand(-1, 3, 4, 4)

def darker(x):
    return x - 0.1 * (x + 1)

def noisy(x):
    return torch.rand_like(x)

darker.value_range = (-1, 1)
"""


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working directory, of a name that no other test has imported."""
    name = f"mygan_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("import not_there\n")
    (tmp_path / f"{name}_raises.py").write_text("raise KeyError('weights')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    return name


def test_callables_by_import(importable: str) -> None:
    options: dict[str, Any] = {"num_samples": 6, "value_range": (-1, 1)}
    expected = pixels(open_source(f"gen:{importable}:net", **options))
    assert expected.shape == (6, 3, 8, 8)
    assert torch.equal(pixels(open_source(f"gen:{importable}:function", latent_dim=4, **options)), expected)
    assert torch.equal(pixels(open_source(f"gen:{importable}:Both.net", **options)), expected)
    labelled = open_source(f"gen:{importable}:labelled", num_samples=50, latent_dim=1, num_classes=10)
    found = pixels(labelled)[:, 0, 0, 0] // 20
    assert [str(label) for label in found.tolist()] == labelled.labels()
    assert len(set(found.tolist())) == 10


def test_callables_translate_too(importable: str) -> None:
    before = pixels(open_source(PLAIN, num_samples=4)).float()
    darker = pixels(open_source(f"gen:{importable}:darker({PLAIN})", num_samples=4)).float()
    assert float((darker - before * 0.9).abs().max()) <= 1
    noisy = open_source(f"gen:{importable}:noisy({PLAIN})", num_samples=20, value_range=(0, 1))
    expected = pixels(noisy)
    assert noisy.report.notes == {NOISE: 20}
    assert len(torch.unique(expected, dim=0)) == 20
    assert torch.equal(pixels(noisy, 3), expected)
    with pytest.raises(InputError, match="--value-range -1,1"):
        open_source(f"gen:{importable}:noisy({PLAIN})", num_samples=4)


def test_other_specs_fall_through() -> None:
    assert torch.equal(pixels(open_source(PLAIN, num_samples=2)), pixels(open_source(PLAIN, num_samples=2, seed=9)))
    source = open_source(lambda z: torch.zeros(len(z), 3, 2, 2), num_samples=2, latent_dim=1, value_range=(0, 1))
    assert isinstance(source, GeneratedSource)
    assert open_source(source) is source
    assert open_source(np.zeros((2, 4, 4, 3), np.uint8)).length == 2


def test_the_global_random_state_is_not_touched(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    source = open_source("gen:dcgan-cifar10", num_samples=3)
    source.check()
    pixels(source)
    pixels(open_source(f"gen:cyclegan-plain2striped({PLAIN})", num_samples=2))
    assert torch.equal(torch.get_rng_state(), state)


# --- files -------------------------------------------------------------------------------------------------------


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    save_generator(path, dcgan(), "dcgan", {"data": "noise"})
    assert path.stat().st_size < 2.2 * sum(t.numel() for t in dcgan().state_dict().values()) + 4000
    loaded = load_generator(path)
    assert not loaded.module.training
    assert loaded.card["data"] == "noise"
    for name, tensor in dcgan().state_dict().items():
        torch.testing.assert_close(loaded.module.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)


def _spoil(path: Path, what: str) -> None:
    card = json.loads(path.with_suffix(".json").read_text())
    if what == "other weights":
        save_generator(path, translator(), "cyclegan")
    elif what == "other width":
        card["arguments"]["width"] = 8
    elif what == "impossible":
        card["arguments"]["size"] = 48
    elif what == "unknown argument":
        card["arguments"]["depth"] = 48
    elif what == "unknown model":
        card["model"] = "stylegan"
    elif what == "no description":
        card = {"data": "cifar10"}
    elif what == "list":
        card = [1, 2]
    elif what == "flipped":
        whole = bytearray(path.read_bytes())
        whole[-1] ^= 1
        path.write_bytes(whole)
    elif what == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif what == "pickle":
        torch.save(dcgan().state_dict(), path)
    elif what == "missing":
        path.unlink()
    path.with_suffix(".json").write_text(json.dumps(card))
    if what == "no json":
        path.with_suffix(".json").unlink()
    elif what == "half a json":
        path.with_suffix(".json").write_text('{"model": "dcgan", ')


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("other weights", r"weights of another architecture than a dcgan .*; .* is unexpected"),
        ("other width", r"another architecture .* has another shape \(\(5, 16, 4, 4\), expected \(5, 32, 4, 4\)\)"),
        ("impossible", "which cannot be built: .*32, 64, 128"),
        ("unknown argument", "which cannot be built: .*'depth'"),
        ("unknown model", 'model is "stylegan", expected one of dcgan, cyclegan'),
        ("no description", "not a valid model card: the key 'model' is missing"),
        ("list", r"found \[1, 2\], expected an object"),
        ("flipped", "is not the file that g.json describes"),
        ("truncated", "not a complete safetensors file"),
        ("pickle", "not a complete safetensors file"),
        ("missing", "does not exist"),
        ("no json", "has no model card g.json next to it"),
        ("half a json", "not a valid model card: it is not JSON"),
    ],
)
def test_checkpoints_iv(what: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    save_generator(path, dcgan(), "dcgan")
    _spoil(path, what)
    with pytest.raises(WeightsError, match=message) as error:
        open_source(f"gen:{path}", num_samples=2)
    assert "\n" not in str(error.value)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gen:dcgan-cifar", r"does not name a generator. Available: .*Did you mean gen:dcgan-cifar10\?"),
        ("gen:", "does not name a generator"),
        ("gen:a:b:c", "does not name a generator"),
        ("gen:cyclegan-plain2striped", r"translates images: say which.*'gen:cyclegan-plain2striped\(dataset"),
        (f"gen:dcgan-cifar10({PLAIN})", "does not translate"),
        ("gen:cyclegan-plain2striped()", "cannot be read"),
        (f"gen:({PLAIN})", "cannot be read"),
        ("gen:cyclegan-plain2striped)", "cannot be read"),
        ("gen:cyclegan-plain2striped(missing/)", "No such file or folder: 'missing/'"),
        ("gen:cyclegan-plain2striped(gen:nothing)", "'gen:nothing' does not name a generator"),
        ("gen:cyclegan-plain2striped(stats:cifar10-test)", "names reference statistics"),
        ("gen:no.such.module:f", "there is no module no"),
        ("gen:json:nothing", r"json \(.*\) has no 'nothing'"),
        ("gen:json:load.nothing", "has no 'load.nothing'"),
        ("gen:json:dump_", r"Did you mean 'dump'\?"),
        ("gen:json:JSONDecoder", "is a class: make one of it"),
        ("gen:json:__name__", "is not callable"),
        ("gen:missing.pt", "there is no file missing.pt"),
        ("gen:missing.safetensors", "missing.safetensors does not exist"),
        ("gen:pickled.pth", "is not a TorchScript file.*Pickles are never read"),
        ("gen:text.pt", "is not a TorchScript file"),
        ("gen:empty/", "should hold one generator, .*; found none"),
    ],
)
def test_specs_iv(spec: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(dcgan(), "pickled.pth")
    Path("text.pt").write_text("no model")
    Path("empty").mkdir()
    with pytest.raises(GanEvalError, match=message) as error:
        open_source(spec, num_samples=2)
    assert "\n" not in str(error.value)


def test_modules_that_do_not_import_iv(importable: str) -> None:
    for name, message in {
        "_broken": "importing .* fails: ModuleNotFoundError: No module named 'not_there' .*_broken.py:1",
        "_raises": "importing .* fails: KeyError: 'weights' .*_raises.py:1",
    }.items():
        with pytest.raises(InputError, match=message):
            open_source(f"gen:{importable}{name}:f", num_samples=2)


def test_state_of_a_run_iv(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    path = tmp_path / "checkpoint-00000002.safetensors"
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="state of a training run, not a generator"):
        load_generator(path)


def test_needs_a_number_of_images_iv() -> None:
    for spec in ("gen:dcgan-cifar10", f"gen:cyclegan-plain2striped({PLAIN})"):
        with pytest.raises(InputError, match="--num-samples"):
            open_source(spec)
        with pytest.raises(GanEvalError, match="at least 1"):
            open_source(spec, num_samples=0)
    assert open_source("gen:dcgan-cifar10", num=3).length == 3


def test_sizes_that_cannot_be_translated_iv(tmp_path: Path) -> None:
    for size, message in ((18, "a multiple of 4"), (12, "at least 16 pixels")):
        source = open_source(f"gen:cyclegan-plain2striped(dataset:shapes:{size})", num_samples=2)
        with pytest.raises(InputError, match=f"images of {size} x {size} pixels: .*{message}"):
            source.check()
    for i, size in enumerate((16, 20)):
        save_images(open_source(f"dataset:shapes:{size}", num_samples=1), tmp_path / f"{i}")
    source = open_source(f"gen:cyclegan-plain2striped({tmp_path})")
    with pytest.raises(InputError, match=r"takes images of one size; 1/000000.png has 20 x 20 pixels"):
        pixels(source)


def test_weights_that_should_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WEIGHTS", tmp_path)
    with pytest.raises(WeightsError, match="Install ganeval again"):
        open_source("gen:dcgan-cifar10", num_samples=2)


def test_every_architecture_loads() -> None:
    for architecture in checkpoint.ARCHITECTURES.values():
        assert issubclass(architecture.load(), nn.Module)
