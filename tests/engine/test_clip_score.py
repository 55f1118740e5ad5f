"""``ganeval.clip_score``: against open_clip and torchmetrics, places of captions, faults, comparisons."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError, InputError, WeightsError
from ganeval.features.registry import NETWORKS
from ganeval.gate.compare import compare
from ganeval.gate.rules import Gate, parse_gate
from ganeval.gate.run import run_gate
from ganeval.images import generated
from ganeval.report.page import Subject, write_report
from ganeval.report.reopen import open_again
from ganeval.result_files import Record, read_record, write_record

pytestmark = pytest.mark.filterwarnings("ignore::ganeval.errors.GanEvalWarning")
Capture = pytest.CaptureFixture[str]
SHAPE = {"image_size": 224, "patch_size": 112, "width": 64, "layers": 1, "output_dim": 512}
CAPTIONS = ["a red square", "a photo of two cats", "Blick auf den Fluß, abends", "three (3) green circles!"]


@pytest.fixture(scope="module")
def peer() -> Any:
    """A small network of open_clip with random weights."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    with torch.random.fork_rng():
        torch.manual_seed(1)  # of which cosines have both signs
        image_side = CLIPVisionCfg(layers=1, width=64, patch_size=112, image_size=224)
        text_side = CLIPTextCfg(width=64, heads=1, layers=2)
        return CLIP(512, image_side, text_side, quick_gelu=True).eval()


@pytest.fixture(scope="module")
def weights(peer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.pth"
    torch.save(peer.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = dataclasses.replace(NETWORKS["clip-vitb32"], options=SHAPE)
    monkeypatch.setitem(NETWORKS.data, "clip-vitb32", small)


def pictures(n: int, *, size: tuple[int, int] = (20, 31)) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).resize((300, 260)) for _ in range(n)]


def save(folder: Path, names: Sequence[str], captions: Mapping[str, str] | None = None) -> Path:
    for name, picture in zip(names, pictures(len(names)), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
    for name, caption in (captions or {}).items():
        (folder / name).write_text(caption, "utf-8")
    return folder


def scores(evaluation: ganeval.Evaluation) -> list[float]:
    found: list[float] = evaluation["clip-score"].per_image["clip-score_score_fake"].tolist()
    return found


def peer_cosines(peer: Any, images: Sequence[Image.Image], captions: Sequence[str]) -> torch.Tensor:
    """By open_clip alone: its preprocessing, its tokeniser, its forward pass."""
    from open_clip import image_transform
    from open_clip.tokenizer import SimpleTokenizer

    prepare = image_transform(224, is_train=False)
    with torch.inference_mode():
        one, other, _ = peer(torch.stack([prepare(image) for image in images]), SimpleTokenizer()(captions))
        return (one * other).sum(1)


@pytest.mark.parametrize(
    ("scaling", "prefix", "factor"), [("cosine", "", 1.0), ("100", "", 100.0), ("2.5", "A photo depicts ", 2.5)]
)
def test_against_open_clip(scaling: str, prefix: str, factor: float, peer: Any, weights: Path, tmp_path: Path) -> None:
    folder = save(tmp_path, [f"{i}.png" for i in range(4)])
    found = ganeval.clip_score(folder, captions=CAPTIONS, scaling=scaling, weights=weights, device="cpu", batch_size=3)
    expected = factor * peer_cosines(peer, pictures(4), [prefix + caption for caption in CAPTIONS])
    if scaling != "cosine":
        expected = expected.clamp(min=0)
    assert scores(found) == pytest.approx(expected.tolist(), abs=1e-5 * factor)
    result = found["clip-score"]
    assert result.value == pytest.approx(float(expected.mean()), abs=1e-5 * factor)
    formula = {"cosine": "cos", "100": "100 max(cos, 0)", "2.5": "2.5 max(cos, 0)"}[scaling]
    assert result.label == f"CLIPScore[clip-{(result.protocol.weights or '')[:8]}, {formula}]"
    assert result.settings == {"scaling": formula, "prefix": prefix}


def test_against_torchmetrics(peer: Any, weights: Path, tmp_path: Path) -> None:
    """Its own formula and features, around the same network; its preprocessor is replaced by that of open_clip."""
    clip_score = pytest.importorskip("torchmetrics.functional.multimodal.clip_score").clip_score
    from open_clip import image_transform
    from open_clip.tokenizer import SimpleTokenizer
    from torchvision.transforms.functional import to_pil_image

    class Model(torch.nn.Module):
        config = None

        def get_image_features(self, pixels: torch.Tensor) -> torch.Tensor:
            return peer.encode_image(pixels)  # type: ignore[no-any-return]

        def get_text_features(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return peer.encode_text(tokens)  # type: ignore[no-any-return]

    def processor(images: Any = None, text: Any = None, **_: Any) -> dict[str, torch.Tensor]:
        if text is not None:
            return {"input_ids": (tokens := SimpleTokenizer()(text)), "attention_mask": tokens}
        prepare = image_transform(224, is_train=False)
        return {"pixel_values": torch.stack([prepare(to_pil_image(image)) for image in images])}

    images = [torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures(4)]
    with torch.inference_mode():
        theirs = [clip_score(i, c, lambda: (Model(), processor)).item() for i, c in zip(images, CAPTIONS, strict=True)]
    folder = save(tmp_path, [f"{i}.png" for i in range(4)])
    found = ganeval.clip_score(folder, captions=CAPTIONS, weights=weights, device="cpu")
    assert scores(found) == pytest.approx(theirs, abs=1e-5)


def test_long_captions_are_cut_before_the_end_token(peer: Any, weights: Path, tmp_path: Path) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    from ganeval.features.clip_text import tokenize

    long = " ".join(f"word{i}" for i in range(90))
    tokens, cut = tokenize([CAPTIONS[0], long])
    assert torch.equal(tokens, SimpleTokenizer()([CAPTIONS[0], long]))
    assert cut == [long]
    folder = save(tmp_path, ["a.png", "b.png", "c.png"])
    found = ganeval.clip_score(folder, captions=[long, CAPTIONS[0], long], weights=weights, device="cpu")
    assert found["clip-score"].details["cut"] == 2
    assert any("2 captions were longer than 77 tokens: only the first 75" in text for text in found.warnings)
    assert scores(found)[0] == pytest.approx(100 * float(peer_cosines(peer, pictures(1), [long])[0].clamp(0)), abs=1e-4)


def test_captions_from_every_place(weights: Path, tmp_path: Path) -> None:
    names = ["x/0.png", "x/1.input.png", "y/2.png"]
    texts = {"x/0.txt": CAPTIONS[0], "x/1.txt": CAPTIONS[1], "y/2.txt": f"\ufeff{CAPTIONS[2]}\n"}
    folder = save(tmp_path / "images", names, texts)
    with ZipFile(tmp_path / "images.zip", "w") as archive, tarfile.open(tmp_path / "images.tar", "w") as tar:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder).as_posix())
            tar.add(path, path.relative_to(folder).as_posix())
    rows = list(zip(names, CAPTIONS[:3], strict=True))
    lines = {
        "a.csv": "name,caption\n" + "".join(f'{name},"{caption}"\n' for name, caption in reversed(rows)),
        "b.jsonl": "\n".join(json.dumps({"file_name": f"./{n.rpartition('.')[0]}.jpg", "text": c}) for n, c in rows),
        "e.csv": "image,prompt\n" + "".join(f'{n.rpartition("/")[2]},"{c}"\n' for n, c in rows),
        "c.csv": "caption\n" + "".join(f'"{caption}"\n' for _, caption in rows),
        "d.txt": "\n".join(caption for _, caption in rows) + "\n",
    }
    for name, text in lines.items():
        (tmp_path / name).write_text(text, "utf-8")
    options = {"weights": weights, "device": "cpu"}
    expected = scores(ganeval.clip_score(folder, captions=CAPTIONS[:3], **options))
    places = [(place, None) for place in (folder, tmp_path / "images.zip", tmp_path / "images.tar")]
    tables: list[tuple[Path, Any]] = [(folder, tmp_path / name) for name in (*lines, "images")]
    for images, captions in [*places, *tables, (folder, dict(rows))]:
        found = ganeval.clip_score(images, captions=captions, **options)
        assert scores(found) == expected, (images, captions)
    assert "captions were assigned by the order of the images" not in found.notes


def test_captions_in_the_rows_of_the_images(weights: Path, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="needs ganeval[parquet]")
    from pyarrow import parquet

    folder = save(tmp_path / "images", [f"{i}.png" for i in range(3)])
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    rows = {"image": files, "words": CAPTIONS[:3], "caption": [*CAPTIONS[1:3], None]}
    parquet.write_table(arrow.table(rows), tmp_path / "a.parquet")
    options = {"weights": weights, "device": "cpu"}
    expected = scores(ganeval.clip_score(folder, captions=CAPTIONS[:3], **options))
    items = [{"pic": picture, "words": text} for picture, text in zip(pictures(3), CAPTIONS, strict=False)]
    for images in (tmp_path / "a.parquet", items):
        found = ganeval.clip_score(images, caption_column="words", **options)
        assert scores(found) == expected
        assert found.fake["captions"]["spec"] == "column words of the images"
    found = ganeval.clip_score(tmp_path / "a.parquet", on_unpaired="skip", **options)
    assert scores(found) == scores(ganeval.clip_score(pictures(3)[:2], captions=CAPTIONS[1:3], **options))


def paint(prompts: list[str]) -> list[Image.Image]:
    """A text-to-image generator."""
    return [pictures(len(prompt))[-1] for prompt in prompts]


def test_the_prompts_of_a_generator(weights: Path, tmp_path: Path) -> None:
    texts = [*CAPTIONS, CAPTIONS[0]]
    options = {"weights": weights, "device": "cpu", "batch_size": 3}
    expected = ganeval.clip_score(paint(texts), captions=texts, **options)
    found = ganeval.clip_score(paint, prompts=CAPTIONS, num_samples=5, **options)
    assert scores(found) == scores(expected)
    assert found.fake["digest"] == expected.fake["digest"]
    assert found.fake["captions"] == {**expected.fake["captions"], "spec": "the prompts of the generator"}
    assert found.fake["prompts"] == 4
    table = tmp_path / "a.csv"
    table.write_text("text,words\n" + "".join(f'x,"{caption}"\n' for caption in CAPTIONS), "utf-8")
    named = ganeval.clip_score(paint, prompts=table, caption_column="words", num_samples=5, **options)
    assert scores(named) == scores(expected)
    other = ganeval.clip_score(paint, prompts=CAPTIONS, captions=CAPTIONS[::-1], **options)
    assert scores(other) == scores(ganeval.clip_score(paint(CAPTIONS), captions=CAPTIONS[::-1], **options))


def test_images_that_stay_on_an_accelerator_have_no_digests(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"prompts": CAPTIONS, "num_samples": 12, "weights": weights, "device": "cpu", "scaling": "cosine"}
    exact = ganeval.clip_score(paint, **options)
    finish = generated.finish_images
    monkeypatch.setattr(generated, "finish_images", lambda *given: (finish(*given)[0], None))
    found = ganeval.clip_score(paint, single_images=True, **options)
    assert scores(found) == scores(exact)
    assert (found.fake["n"], found.fake["digest"]) == (12, None)
    write_record(found, tmp_path / "a.json", arrays=Record.of(found).arrays)
    (row,) = compare(read_record(tmp_path / "a.json"), Record.of(exact)).rows
    assert row.pairing == "paired"
    write_report(tmp_path / "a.html", [Subject(record=Record.of(found))], trusted=True)
    assert "CLIPScore" in (tmp_path / "a.html").read_text("utf-8")


def test_samples_are_scored_by_the_prompts_next_to_them(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join(CAPTIONS), "utf-8")
    command = ["sample", f"gen:{__name__}:paint", "--prompts", str(tmp_path / "prompts.txt"), "-n", "5"]
    expected = scores(ganeval.clip_score(paint, prompts=CAPTIONS, num_samples=5, weights=weights, device="cpu"))
    for place in ("out", "out.zip"):
        assert main([*command, "-o", str(tmp_path / place), "--device", "cpu"]) == 0
        assert scores(ganeval.clip_score(tmp_path / place, weights=weights, device="cpu")) == expected


def test_a_report_shows_what_was_made_of_prompts(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    table, page, document = tmp_path / "a.csv", tmp_path / "a.html", tmp_path / "a.json"
    table.write_text("words\n" + "".join(f'"{caption}"\n' for caption in CAPTIONS), "utf-8")
    command = ["clip-score", f"gen:{__name__}:paint", "--prompts", str(table), "--caption-column", "words"]
    more = ["--weights", str(weights), "--device", "cpu", "-o", str(document), "--report", str(page)]
    assert main([*command, *more, "--per-image", str(tmp_path / "b.csv")]) == 0
    text = page.read_text("utf-8")
    assert "Images that match their captions worst" in text
    assert "not in the document" not in text
    assert text.count("data:image/") >= 4
    assert "a red square" in (tmp_path / "b.csv").read_text("utf-8")
    assert main(["report", str(document), "-o", str(tmp_path / "c.html")]) == 0
    assert "data:image/" not in (tmp_path / "c.html").read_text("utf-8")  # a document alone runs no program
    told = json.loads(document.read_text("utf-8"))["fake"]
    with pytest.raises(InputError, match="made with prompts, which are not in the document"):
        open_again("fake", told, 4, trusted=True, options={})


def test_images_without_a_caption_and_captions_without_an_image(weights: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "images", [f"{i}.png" for i in range(4)])
    table = tmp_path / "a.csv"
    table.write_text("image,prompt\n0.png,one\n1.png,\n2.jpg,two\n7.png,seven\n", "utf-8")
    options = {"captions": table, "weights": weights, "device": "cpu"}
    with pytest.raises(
        InputError, match=r"2 images of .*images without a caption: 1.png, 3.png; 1 caption has no im.*7"
    ):
        ganeval.clip_score(folder, **options)
    found = ganeval.clip_score(folder, on_unpaired="skip", **options)
    assert found["clip-score"].n_fake == 2
    assert found.notes == ("images without a caption were left out: 2 of 4",)
    assert "1 caption has no image: 7.png" in found.warnings
    assert found.per_image["fake_places"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "image,score\n0.png,1\n", r"has no column caption, text, prompt; its columns are image, score. Name"),
        ("a.csv", "image,caption\n0.png,a\n0.png,b\n", r"several captions for one name: 0.png"),
        ("a.csv", "image,caption\n0.jpg,a\n0.gif,b\n1,c\n", r"several captions for the image '0.png': of 0.jpg, 0.gif"),
        ("a.csv", "caption\na\n", r"has 1 caption and no names of images, and .* has 2 images"),
        ("a.csv", "image,caption\n", r"has no rows"),
        (
            "a.jsonl",
            '{"image": "0.png", "caption": ["a", "b"]}',
            r"line 1: column 'caption' has \['a', 'b'\]; expected",
        ),
        ("a.txt", "one\ntwo\nthree\n", r"has 3 captions and no names"),
        ("a.json", "{}", r"is not a table of captions: expected a file that ends in .csv, .jsonl, .parquet"),
    ],
)
def test_captions_iv(name: str, text: str, message: str, weights: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "images", ["0.png", "1.png"])
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(InputError, match=message):
        ganeval.clip_score(folder, captions=tmp_path / name, weights=weights, device="cpu")


def test_iv(weights: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "images", ["0.png", "1.png"])
    with pytest.raises(InputError, match="have no .txt files next to them. Name the captions with --captions"):
        ganeval.clip_score(folder, weights=weights)
    with pytest.raises(ConfigError, match="--scaling .*must be one of 100, 2.5, cosine; got 'raw'"):
        ganeval.clip_score(folder, captions=["a", "b"], scaling="raw")
    with pytest.raises(
        ConfigError, match="clip-score is of images and captions, not of two sets. .*ganeval.clip_score"
    ):
        ganeval.evaluate(folder, folder, metrics=("clip-score",), protocol="compact")
    with pytest.raises(InputError, match="captions has 3; expected a text for each image"):
        ganeval.clip_score(folder, captions=["a", 3])
    state = {key: tensor for key, tensor in torch.load(weights).items() if key.startswith("visual.")}
    torch.save(state, tmp_path / "image-side.pth")
    with pytest.raises(WeightsError, match="These weights have no text side"):
        ganeval.clip_score(folder, captions=["a", "b"], weights=tmp_path / "image-side.pth", device="cpu")


def test_images_of_one_caption_count_as_one(weights: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "images", [f"{i:02}.png" for i in range(24)])
    captions = [f"a photo of number {i // 2}" for i in range(24)]
    options = {"captions": captions, "weights": weights, "device": "cpu", "scaling": "cosine"}
    plain, grouped = (ganeval.clip_score(folder, group_by=by, **options) for by in (None, "caption"))
    assert any("24 images have 12 different captions" in text for text in plain.warnings)
    assert not any("different captions" in text for text in grouped.warnings)
    means = np.array(scores(grouped)).reshape(12, 2).mean(1)
    assert grouped["clip-score"].standard_error == pytest.approx(means.std(ddof=1) / 12**0.5)
    assert grouped["clip-score"].details["degrees_of_freedom"] == 11


def noisy(folder: Path, other: Path, *, seed: int) -> Path:
    """The same images, changed a little."""
    rng = np.random.default_rng(seed)
    for path in sorted(folder.glob("*.png")):
        pixels = np.array(Image.open(path)).astype(float) + rng.normal(0, 6, (260, 300, 3))
        other.mkdir(exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(other / f"other-{path.name}")
    return other


def test_two_models_are_paired_by_their_captions(weights: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "a", [f"{i:02}.png" for i in range(16)])
    captions = [f"{CAPTIONS[i % 4]} {i}" for i in range(16)]
    options = {"weights": weights, "device": "cpu", "scaling": "cosine"}
    a = Record.of(ganeval.clip_score(folder, captions=captions, **options))
    b = Record.of(ganeval.clip_score(noisy(folder, tmp_path / "b", seed=1), captions=captions, **options))
    (row,) = compare(a, b).rows
    assert row.pairing == "paired"
    assert (row.standard_error or 1) < (a.evaluation["clip-score"].standard_error or 0) / 3
    other = Record.of(ganeval.clip_score(folder, captions=captions, **options | {"scaling": "100"}))
    assert "differ in settings" in str(compare(a, other).rows[0].reason)


def test_command(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = save(tmp_path / "a", [f"{i:02}.png" for i in range(12)])
    table, page, document = tmp_path / "a.csv", tmp_path / "a.html", tmp_path / "a.json"
    table.write_text("file,words\n" + "".join(f"{i:02},number {i}\n" for i in range(12)), "utf-8")
    options = ["--captions", str(table), "--caption-column", "words", "--weights", str(weights), "--device", "cpu"]
    command = ["clip-score", str(folder), *options, "--scaling", "cosine"]
    assert main([*command, "--json", "-o", str(document), "--report", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    result = found["results"]["clip-score"]
    assert (result["n_real"], result["n_fake"], result["higher_is_better"]) == (None, 12, True)
    assert result["settings"] == {"scaling": "cos", "prefix": ""}
    assert found["real"]["kind"] == "none"
    assert found["fake"]["captions"]["spec"] == str(table)
    assert "Images that match their captions worst" in page.read_text("utf-8")
    assert ", number 11</figcaption>" in page.read_text("utf-8")
    gate = Gate(rules=parse_gate({"rules": {"clip-score": {"min": -0.5}}}, "here"))
    assert run_gate(gate, results=document).verdict.outcome == "pass"
    assert main([*command[:-1], "raw"]) == 2
    table.unlink()
    assert main(command) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_a_damaged_caption_iv(weights: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "a", ["0.png"])
    (folder / "0.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="the caption of 0.png is not text in UTF-8"):
        ganeval.clip_score(folder, weights=weights, device="cpu")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder / "0.png", "0.png")
        info = tarfile.TarInfo("0.txt")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"   "))
    with pytest.raises(InputError, match="1 image of .*a.tar without a caption: 0.png"):
        ganeval.clip_score(tmp_path / "a.tar", weights=weights, device="cpu")
