"""The page of a gate, of path lengths and of a training run, each by the option of its command."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.cli.main import main
from ganeval.report.game import _samples, draw, read_training
from ganeval.result_files import read_record
from ganeval.training.pictures import Panel, series

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def captions(text: str) -> list[str]:
    return re.findall(r"<figcaption>([^<]*)</figcaption>", text)


@pytest.mark.parametrize(("limit", "code", "words"), [(1e6, 0, "gate: pass ("), (0.0, 1, "gate: fail (")])
def test_gate(limit: float, code: int, words: str) -> None:
    Path("ganeval.toml").write_text(f'[gate]\nprotocol = "compact"\n[gate.rules.kid]\nmax = {limit}\n')
    sets = ["dataset:shapes-plain:16@1", "dataset:shapes-striped:16@2", "--num-samples", "40", "--device", "cpu", "-q"]
    assert main(["gate", *sets, "--report", "one.html", "-o", "G.json"]) == code
    one = Path("one.html").read_text(encoding="utf-8")
    assert words in one
    assert "Fakes next to their nearest reals" in one
    assert len(captions(one)) > 24
    assert main(["gate", "--results", "G.json", "--report", "two.html", "--baseline", "G.json", "-q"]) == code
    two = Path("two.html").read_text(encoding="utf-8")
    assert words in two
    assert "Changes against the baseline G.json" in two
    assert main(["report", "G.json", "-o", "three.html", "-q"]) == 0
    assert words in Path("three.html").read_text(encoding="utf-8")


def test_a_damaged_verdict_is_said(capsys: Capture) -> None:
    Path("ganeval.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.kid]\nmax = 9\n')
    sets = ["dataset:shapes-plain:16@1", "dataset:shapes-striped:16@2", "--num-samples", "10", "--device", "cpu", "-q"]
    assert main(["gate", *sets, "-o", "G.json"]) in (0, 3)
    document = json.loads(Path("G.json").read_text())
    document["gate"]["checks"][0]["metrik"] = document["gate"]["checks"][0].pop("metric")
    Path("G.json").write_text(json.dumps(document))
    assert main(["report", "G.json"]) == 2
    assert "is not valid: gate: checks[0]: the key 'metric' is missing" in capsys.readouterr().err
    assert not Path("report.html").exists()


def test_gate_that_could_not_measure() -> None:
    Path("ganeval.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.precision]\nmin = 0.5\n')
    sets = ["dataset:shapes:16@1", "dataset:shapes:16@2", "--num-samples", "2", "--device", "cpu", "-q"]
    assert main(["gate", *sets, "--report", "page.html"]) == 3
    page = Path("page.html").read_text(encoding="utf-8")
    assert "gate: inconclusive (1 could not be judged)" in page
    assert "needs at least" in page


def test_path_length() -> None:
    """The longest steps, from the command and from its document; not where the latents are others."""
    assert main(["ppl", "gen:dcgan-cifar10", "--distance", "compact", "--pairs", "60", "--device", "cpu", "-q",
                 "-o", "P.json", "--report", "one.html"]) == 0  # fmt: skip
    page = Path("one.html").read_text(encoding="utf-8")
    record = read_record("P.json")
    distances = record.arrays["ppl_distance"]
    worst = np.argsort(-distances)[:6].tolist()
    found = re.findall(r"pair (\d+): ([\d.e+-]+) \(median", page)
    assert [int(number) for number, _ in found] == worst
    assert [float(value) for _, value in found] == pytest.approx(distances[worst].tolist(), rel=1e-3)
    assert page.count("<img ") == 6 * 5
    assert main(["report", "P.json", "-o", "two.html", "-q"]) == 0
    assert Path("two.html").read_text(encoding="utf-8").count("<img ") == 6 * 5
    document = json.loads(Path("P.json").read_text())
    document["fake"]["seed"] += 1
    Path("P.json").write_text(json.dumps(document))
    assert main(["report", "P.json", "-o", "three.html", "-q"]) == 0
    other = Path("three.html").read_text(encoding="utf-8")
    assert "are not those that were measured" in other
    assert "<img " not in other


def test_train() -> None:
    tiny = ["--width", "2", "--latent-dim", "5", "--batch-size", "4", "--steps", "4", "--log-every", "1"]
    more = ["--sample-every", "2", "--eval-every", "2", "--eval-samples", "12", "--final-samples", "12"]
    run = ["train", "dcgan", "--data", "dataset:shapes", "--num-samples", "12", "--metrics", "fid", "--device", "cpu"]
    assert main([*run, *tiny, *more, "-o", "run", "-q", "--report", "run.html"]) == 0
    page = Path("run.html").read_text(encoding="utf-8")
    assert "run: 4 steps" in page
    assert {"step 0", "step 2", "step 4"} <= set(captions(page))
    for title in ("cost of each player", "Frechet distance of the averaged generator", "gradient norms"):
        assert title in page
    assert page.index("Frechet distance of the averaged") < page.index("cost of each player")
    assert main(["report", "run", "-o", "again.html", "-q"]) == 0
    assert Path("again.html").read_text(encoding="utf-8") == page
    assert read_training(Path("run")).steps == 4


def test_measured_lines_have_their_bands() -> None:
    log = [
        {"kind": kind, "step": step, "fd": value, "fd_low": value - 1, "fd_high": value + 1}
        for kind, step, value in (("eval", 0, 9.0), ("train", 5, 7.0), ("end", 10, 5.0))
    ]
    panel = Panel("FD", {"fd": "FD", "never": "never logged"}, kind="eval")
    steps, values = series(log, "eval", "fd")
    assert (steps.tolist(), values.tolist()) == ([0.0, 10.0], [9.0, 5.0])
    svg = str(draw(panel, log))
    assert svg.count('class="band c0"') == 2  # in the plot and in its key
    assert "never logged" not in svg
    assert "FD ends at 5." in svg
    assert draw(Panel("x", {"never": "x"}), log) is None


def test_large_grids_of_samples_are_reduced(tmp_path: Path) -> None:
    """A page of many runs stays small: noise of a megabyte becomes a tenth of that, a small grid stays as it is."""
    (tmp_path / "samples").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (800, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "samples" / "00000010.png")
    Image.fromarray(noise[:40, :30]).save(tmp_path / "samples" / "00000020.png")
    (tmp_path / "samples" / "00000030.png").write_bytes(b"no picture")
    (large, alt, caption), (small, *_) = _samples(tmp_path)
    assert (alt, caption) == ("grid of samples at step 10, 600 by 800 pixels", "step 10")
    assert large.startswith("data:image/jpeg;base64,")
    assert len(large) < 0.4 * (tmp_path / "samples" / "00000010.png").stat().st_size
    with Image.open(io.BytesIO(base64.b64decode(large.split(",")[1]))) as image:
        assert image.size == (480, 640)
    assert base64.b64decode(small.split(",")[1]) == (tmp_path / "samples" / "00000020.png").read_bytes()
