"""``ganeval.paired`` and ``ganeval paired``: partners, faults, groups, and the comparison of two models."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError, GanEvalWarning, InputError, NotEnoughSamplesError
from ganeval.gate.compare import compare
from ganeval.gate.rules import Gate, parse_gate
from ganeval.gate.run import run_gate
from ganeval.result_files import Record

Capture = pytest.CaptureFixture[str]
CHEAP = {"metrics": "l1", "device": "cpu"}


def save(folder: Path, images: Mapping[str, np.ndarray]) -> Path:
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return folder


def grey(*values: int, size: int = 12) -> list[np.ndarray]:
    return [np.full((size, size, 3), value, np.uint8) for value in values]


def noisy(n: int, spread: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Reals, and fakes whose error differs from real to real far more than from model to model."""
    rng = np.random.default_rng(7)
    real = rng.integers(60, 190, (n, 12, 12, 3))
    hard = rng.uniform(5, 40, (n, 1, 1, 1))
    step = np.random.default_rng(seed).choice([-1, 1], real.shape)
    return real.astype(np.uint8), np.clip(real + step * (hard + spread), 0, 255).astype(np.uint8)


def test_partners_by_path_without_suffix(tmp_path: Path) -> None:
    """In another order, of other formats, one set in a folder of an archive."""
    a, b, c = grey(10, 100, 200)
    real = save(tmp_path / "real", {"x/a.png": a, "x/a-1.png": b, "y/a.png": c})
    fake = save(tmp_path / "fake", {"x/a.bmp": a, "x/a-1.png": b + 51, "y/a.bmp": c})
    archive = tmp_path / "fake.zip"
    with ZipFile(archive, "w") as file:
        for path in sorted(fake.rglob("*.*")):
            file.write(path, f"outputs/{path.relative_to(fake)}")
    for one in (fake, archive):
        assert ganeval.paired(real, one, **CHEAP)["l1"].value == pytest.approx(0.2 / 3)


def test_unpaired_images_stop_by_name_or_are_counted(tmp_path: Path) -> None:
    a, b, c = grey(10, 100, 200)
    real = save(tmp_path / "real", {"a.png": a, "b.png": b})
    fake = save(tmp_path / "fake", {"b.png": b, "c.png": c})
    with pytest.raises(
        InputError, match=r"found 1 pair by stem, and 1 image of .*real .*\(a\); 1 image of .*fake.*\(c\)"
    ):
        ganeval.paired(real, fake, **CHEAP)
    found = ganeval.paired(real, fake, on_unpaired="skip", **CHEAP)
    assert (found["l1"].value, found["l1"].n_fake, found.real is not None and found.real["n"]) == (0.0, 1, 1)
    assert "images without a partner were left out: 1 of REAL and 1 of FAKE" in found.notes
    with pytest.raises(InputError, match="found 0 pairs by name"):
        ganeval.paired(save(tmp_path / "other", {"b.bmp": b}), fake, pair_by="name", on_unpaired="skip", **CHEAP)


def test_arrays_are_paired_by_order(tmp_path: Path) -> None:
    real, fake = noisy(12, 0, seed=1)
    found = ganeval.paired(real, fake, metrics=None, device="cpu", distance="compact")
    assert set(found.results) == {"ssim", "psnr", "l1", "l2", "lpips"}
    assert any(note.startswith("ms-ssim is not computed: #0 has 12 x 12 pixels") for note in found.notes)
    assert "pairs are made by order: not all images have file names" in found.notes
    with pytest.raises(InputError, match="have no file names"):
        ganeval.paired(real, fake, pair_by="stem", **CHEAP)
    with pytest.raises(InputError, match=r"1 image of ndarray 13x.* without a partner \(#12\). Give as many reals as"):
        ganeval.paired(np.concatenate([real, real[:1]]), fake, **CHEAP)


def test_tensors_of_bytes_and_of_floats() -> None:
    import torch

    real, fake = (torch.from_numpy(images).permute(0, 3, 1, 2) for images in noisy(12, 0, seed=1))
    expected = float((real.int() - fake.int()).abs().double().mean() / 255)
    assert ganeval.paired(real, fake, **CHEAP)["l1"].value == pytest.approx(expected, abs=1e-12)
    floats = [images / 255 for images in (real, fake)]
    assert ganeval.paired(*floats, value_range=(0, 1), **CHEAP)["l1"].value == pytest.approx(expected, abs=1e-12)
    with pytest.raises(InputError, match="REAL .* is a stream; expected images of a known number"):
        ganeval.paired(iter([real]), fake, **CHEAP)


def test_batches_change_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [(12, 15), (13, 12), (12, 15), (20, 14)]
    sets = [{f"{i}.png": rng.integers(0, 256, (*size, 3), np.uint8) for i, size in enumerate(sizes)} for _ in range(2)]
    real, fake = (save(tmp_path / str(i), one) for i, one in enumerate(sets))
    one, four = (ganeval.paired(real, fake, metrics="ssim,psnr,l2", device="cpu", batch_size=n) for n in (1, 4))
    for name, result in one.results.items():
        assert result.value == pytest.approx(four[name].value, rel=1e-12)


def test_lpips_is_the_distance_of_each_pair() -> None:
    import torch

    from ganeval.features.perceptual import load_distance

    real, fake = noisy(11, 3, seed=1)
    distance = load_distance("compact", device=torch.device("cpu"))
    floats = [torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1 for x in (real, fake)]
    found = ganeval.paired(real, fake, metrics="lpips", distance="compact", device="cpu")["lpips"]
    assert found.value == pytest.approx(float(distance(*floats).double().mean()), rel=1e-6)
    assert found.label == "LPIPS[compact-v1]"


def test_lpips_against_the_package(tmp_path: Path) -> None:
    """Under the same random weights of its trunk, with the heads of the package."""
    import torch
    import torchvision

    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    trunk = torchvision.models.alexnet(weights=None)
    torch.save(trunk.state_dict(), tmp_path / "alex.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's, of the arguments that lpips uses
        peer = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    weights = trunk.features.state_dict()
    peer.net.load_state_dict({name: weights[name.partition(".")[2]] for name in peer.net.state_dict()})
    real, fake = (np.kron(images, np.ones((1, 6, 6, 1), np.uint8)) for images in noisy(4, 3, seed=1))
    floats = [torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1 for x in (real, fake)]
    with torch.no_grad():
        expected = peer(*floats).flatten()
    options = {"metrics": "lpips", "distance_weights": tmp_path / "alex.pth", "device": "cpu"}
    with pytest.warns(GanEvalWarning, match="are not the published ones"):
        found = ganeval.paired(real, fake, **options)
    assert re.fullmatch(r"LPIPS\[alex-[0-9a-f]{8}\]", found["lpips"].label)
    assert found["lpips"].per_image["lpips_score_fake"].tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_partners_by_a_pattern(tmp_path: Path) -> None:
    """Both sets in one folder, as pix2pix writes them."""
    a, b, c = grey(10, 100, 200)
    folder = save(
        tmp_path / "images",
        {"1_real_B.png": a, "1_fake_B.png": a + 51, "1_real_A.png": c, "2_real_B.png": b, "2_fake_B.png": b},
    )
    pattern = {"pair_by_real": "(.+)_real_B", "pair_by_fake": "(.+)_fake_B"}
    found = ganeval.paired(folder, folder, single_images=True, **pattern, **CHEAP)
    assert found["l1"].value == pytest.approx(0.1)
    assert found.per_image["real_image_names"].tolist() == ["1_real_B.png", "2_real_B.png"]
    assert found.per_image["fake_image_names"].tolist() == ["1_fake_B.png", "2_fake_B.png"]
    assert "3 images of REAL that '(.+)_real_B' does not match were left out" in found.notes
    for text, message in (
        ("steam", "'steam' matches no image of REAL, such as"),
        ("(", "regular expression; got '\\('"),
    ):
        with pytest.raises(ConfigError, match=message):
            ganeval.paired(folder, folder, pair_by=text, **CHEAP)
    with pytest.raises(InputError, match="has two images '1', so their partners are not clear. Make the part"):
        ganeval.paired(folder, folder, **{**pattern, "pair_by_real": "(.+)_real"}, **CHEAP)
    with pytest.raises(ConfigError, match="is for both sets; got 'order' and 'stem'"):
        ganeval.paired(folder, folder, pair_by_real="order", **CHEAP)


def test_outputs_of_one_input_count_as_one(tmp_path: Path) -> None:
    """Their standard error is that of the means of the inputs, and two models are paired input by input."""
    real, _ = noisy(12, 0, seed=1)
    outputs = [noisy(12, 0, seed=seed)[1] for seed in range(6)]
    one = save(tmp_path / "real", {f"{i}.png": image for i, image in enumerate(real)})
    folders = [
        save(tmp_path / str(m), {f"{i}_{k}.png": made[i] for k, made in enumerate(some) for i in range(12)})
        for m, some in enumerate((outputs[:3], outputs[3:]))
    ]
    runs = [ganeval.paired(one, folder, pair_by_fake=r"(.+)_\d+", **CHEAP) for folder in folders]
    scores = runs[0]["l1"].per_image["l1_score_fake"].reshape(12, 3).mean(1)
    assert runs[0]["l1"].n_fake == 36
    assert runs[0]["l1"].standard_error == pytest.approx(np.std(scores, ddof=1) / 12**0.5, rel=1e-9)
    assert "outputs of one input count as one in the error bars" in runs[0].notes
    (row,) = compare(*map(Record.of, runs)).rows
    assert row.pairing == "paired"


def test_unreadable_images_leave_out_their_pair(tmp_path: Path) -> None:
    real, fake = noisy(14, 0, seed=1)
    one = save(tmp_path / "real", {f"{i:02}.png": image for i, image in enumerate(real)})
    other = save(tmp_path / "fake", {f"{i:02}.png": image for i, image in enumerate(fake)})
    whole = ganeval.paired(one, other, **CHEAP)["l1"].per_image["l1_score_fake"]
    for folder, name in ((one, "03.png"), (other, "00.png"), (other, "13.png")):
        (folder / name).write_bytes(b"no image")
    with pytest.raises(InputError, match="03.png: not an image"):
        ganeval.paired(one, other, **CHEAP)
    with pytest.warns(GanEvalWarning, match="3 pairs left out, of which an image is unreadable"):
        found = ganeval.paired(one, other, on_error="skip", batch_size=4, **CHEAP)
    assert found["l1"].per_image["l1_score_fake"].tolist() == np.delete(whole, [0, 3, 13]).tolist()
    assert (found.real or {})["n"] == 11
    assert [name for name, _ in found.fake["skipped"]] == ["00.png", "13.png"]
    for path in other.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(InputError):
        ganeval.paired(one, other, on_error="skip", **CHEAP)


def test_steps_bring_both_sets_to_one_size(tmp_path: Path) -> None:
    """They are part of the key, so that values at other sizes are not compared with these."""
    real, fake = noisy(12, 0, seed=1)
    larger = [np.kron(image, np.ones((2, 2, 1), np.uint8)) for image in fake]
    one = save(tmp_path / "real", {f"{i}.png": image for i, image in enumerate(real)})
    other = save(tmp_path / "fake", {f"{i}.png": image for i, image in enumerate(larger)})
    plain = ganeval.paired(real, fake, **CHEAP)["l1"]
    found = ganeval.paired(one, other, prepare_fake="resize:12:box", **CHEAP)["l1"]
    assert found.value == pytest.approx(plain.value, abs=1e-12)
    assert found.protocol.prepare == "real none; fake resize:12:box"
    assert found.protocol.key() != plain.protocol.key()
    with pytest.raises(ConfigError, match="patches of two images show other places"):
        ganeval.paired(one, other, prepare="patches:8x2", **CHEAP)


def test_the_page_shows_the_worst_pairs(tmp_path: Path) -> None:
    """Also of a document, whose images are opened again at the places that it names."""
    from ganeval.report.page import read_subjects, write_report
    from ganeval.result_files import write_record

    real, fake = noisy(12, 0, seed=1)
    one = save(tmp_path / "real", {f"{11 - i}.png": image for i, image in enumerate(real)})
    other = save(tmp_path / "fake", {f"x/{11 - i}.png": image for i, image in enumerate(fake[:11])})
    found = ganeval.paired(one, other, on_unpaired="skip", single_images=True, prepare="pad:16", **CHEAP)
    write_record(found, tmp_path / "run.json")
    write_report(tmp_path / "page.html", read_subjects(tmp_path / "run.json"))
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Worst pairs by L1" in page
    assert page.count('alt="difference of ') == 11
    worst = int(np.argmax(found["l1"].per_image["l1_score_fake"]))
    name = found.per_image["real_image_names"][worst]
    assert page.index(f"real image {name}") == page.index("real image ")


def test_faults_iv(tmp_path: Path) -> None:
    (a,), (b,) = grey(10), grey(10, size=13)
    real, fake = save(tmp_path / "real", {"a.png": a}), save(tmp_path / "fake", {"a.png": b})
    with pytest.raises(InputError, match=r"the pair a.png and a.png has unequal sizes: 12 x 12 and 13 x 13 pixels"):
        ganeval.paired(real, fake, **CHEAP)
    with pytest.raises(NotEnoughSamplesError, match="all pairs are identical"):
        ganeval.paired(real, real, metrics="psnr", device="cpu")
    with pytest.raises(InputError, match="ms-ssim cannot be computed: a.png has 12 x 12 pixels, expected sides of at"):
        ganeval.paired(real, real, metrics="ms-ssim", device="cpu")
    with pytest.raises(ConfigError, match="fid is not a metric of pairs. Available: ssim, psnr"):
        ganeval.paired(real, fake, metrics="fid")
    with pytest.raises(ConfigError, match="ssim is of pairs of images"):
        ganeval.evaluate(real, fake, metrics=("ssim",))
    twice = save(tmp_path / "twice", {"a.png": a, "a.bmp": a})
    with pytest.raises(InputError, match="has two images 'a', so their partners are not clear"):
        ganeval.paired(twice, twice, **CHEAP)


def test_groups_count_as_one(tmp_path: Path) -> None:
    real, fake = noisy(12, 0, seed=1)
    one = save(tmp_path / "real", {f"{i}-{k}.png": image for i, image in enumerate(real) for k in range(3)})
    other = save(tmp_path / "fake", {f"{i}-{k}.png": image for i, image in enumerate(fake) for k in range(3)})
    plain, grouped = (ganeval.paired(one, other, group_by=by, **CHEAP)["l1"] for by in (None, r"^(\d+)-"))
    alone = ganeval.paired(real, fake, **CHEAP)["l1"]
    assert grouped.standard_error == pytest.approx(alone.standard_error, rel=1e-9)
    assert (plain.standard_error or 0) < (grouped.standard_error or 0) / 1.5
    with pytest.raises(ConfigError, match="gives a group to no image"):
        ganeval.paired(one, other, group_by="film", **CHEAP)


def test_two_models_are_paired_by_their_reals() -> None:
    """A difference of a fifth of the standard deviation of a pair, at 500 pairs."""
    a, b = (Record.of(ganeval.paired(*noisy(500, spread, seed=seed), **CHEAP)) for seed, spread in ((1, 2.0), (2, 0.0)))
    spread = float(a.evaluation["l1"].details["standard_deviation"])  # type: ignore[arg-type]
    (row,) = compare(a, b).rows
    assert (row.pairing, row.better) == ("paired", "B")
    assert abs(row.difference or 0) < 0.25 * spread
    assert row.p_value is not None
    assert row.p_value < 1e-6


def test_gate_takes_a_rule_without_a_protocol() -> None:
    record = Record.of(ganeval.paired(*noisy(40, 0, seed=1), **CHEAP))
    table = {"rules": {"l1": {"max": 0.5}}}
    assert run_gate(Gate(rules=parse_gate(table, "here")), results=record).verdict.outcome == "pass"


def test_gate_measures_pairs(tmp_path: Path, capsys: Capture) -> None:
    images = [{f"{i}.png": image for i, image in enumerate(one)} for one in noisy(30, 0, seed=1)]
    real, fake = (str(save(tmp_path / str(i), one)) for i, one in enumerate(images))
    rules = tmp_path / "gate.toml"
    options = ["--config", str(rules), "--device", "cpu", "--json"]
    rules.write_text("[gate.rules.l1]\nmax = 0.5\n[gate.rules.psnr]\nmin = 60\n")
    base = tmp_path / "base.json"
    assert main(["gate", real, fake, *options, "--channels", "y", "-o", str(base), "--exit-zero"]) == 0
    assert json.loads(base.read_text("utf-8"))["results"]["l1"]["label"] == "L1[y]"
    assert main(["gate", real, fake, *options]) == 1
    rules.write_text("[gate.rules.l1]\nmax-regression = { rel = 0.05 }\n")
    assert main(["gate", real, fake, *options, "--channels", "y", "--baseline", str(base)]) == 0
    capsys.readouterr()
    for text, more, message in (
        ("[gate.rules.l1]\nmax = 0.5\n[gate.rules.fid]\nmax = 9\n", ["--protocol", "compact"], "of image sets (fid)"),
        (
            "[gate.rules.l1]\nmax = 0.5\n",
            ["--precision", "fp16"],
            "(precision=) has no effect on rules of l1",
        ),
        ("[gate.rules.fid]\nmax = 9\n", ["--protocol", "compact", "--channels", "y"], "--channels (channels=) has no"),
    ):
        rules.write_text(text)
        assert main(["gate", real, fake, *options, *more]) == 2
        assert message in json.loads(capsys.readouterr().out)["error"]["message"]


def test_command(tmp_path: Path, capsys: Capture) -> None:
    images = [{f"{i}.png": image for i, image in enumerate(one)} for one in noisy(12, 0, seed=1)]
    real, fake = (str(save(tmp_path / str(i), one)) for i, one in enumerate(images))
    page, table = tmp_path / "page.html", tmp_path / "table.csv"
    options = ["--metrics", "ssim,psnr", "--channels", "y", "--device", "cpu"]
    assert main(["paired", real, fake, *options, "--report", str(page), "--per-image", str(table), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["label"] for one in document["results"].values()] == ["SSIM[y]", "PSNR[y]"]
    assert document["results"]["ssim"]["protocol"]["layer"] == "y, Gaussian window 11, sigma 1.5"
    assert document["results"]["ssim"]["protocol"]["scale"] == "x/255"
    assert "SSIM" in page.read_text("utf-8")
    rows = table.read_text("utf-8").splitlines()
    assert (rows[0], len(rows)) == ("real,fake,ssim,psnr", 13)
    assert main(["paired", real, str(tmp_path / "none"), *options]) == 2
