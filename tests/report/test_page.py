"""The page of a run: what it holds, what it must never hold, and that it is the same for every way to ask for it."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.cli.main import main
from ganeval.report.grids import MANY
from ganeval.result_files import read_record

HOSTILE = "<img src=x onerror=alert(1)>&\"'{{ 7*7 }}"
Capture = pytest.CaptureFixture[str]


class Page(HTMLParser):
    """The tags of a page with their attributes, and whether each is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.text = path.read_text(encoding="utf-8").replace("<wbr>", "")
        self.feed(self.text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def said(self) -> str:
        return " ".join(" ".join(self.words).split())

    def captions(self, title: str) -> list[str]:
        """Of the tiles under a heading."""
        part = re.split(r"<h[2345]>", self.text.split(f">{title}<")[1])[0]
        return re.findall(r"<figcaption>(.*?)</figcaption>", part)


def require_sound(page: Page) -> None:
    """Nothing from elsewhere, no program, a text for every picture, scopes for every heading of a table."""
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        assert not [name for name in attributes if name.startswith("on")], attributes
        for name in ("src", "href", "data", "action", "srcset"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), attributes
        if tag == "img":
            assert attributes["alt"]
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
    assert "url(" not in page.text
    assert re.findall(r"https?://[^\"]*", page.text.replace("http://www.w3.org/2000/svg", "")) == []
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 reals and 102 fakes, measured: one of coarse blocks, one a copy; half the names are hostile."""
    work = tmp_path_factory.mktemp("page")
    for name, seed in (("real", 1), ("fake", 2)):
        for kind in ("a", HOSTILE.replace("/", "")):
            (work / name / kind).mkdir(parents=True)
        spec = ["sample", f"dataset:shapes@{seed}", "-n", "100", "-q", "-o", str(work / f"{name}-all")]
        assert main(spec) == 0
        for i, path in enumerate(sorted((work / f"{name}-all").glob("*.png"))):
            path.rename(work / name / ("a" if i % 2 else HOSTILE) / f"{i:03d}{'' if i % 10 else HOSTILE}.png")
    y, x = np.mgrid[:32, :32] // 8 % 2
    Image.fromarray((255 * np.stack([x ^ y, x, y], axis=2)).astype(np.uint8)).save(work / "fake" / "a" / "outlier.png")
    (work / "fake" / "a" / "copy.png").write_bytes((work / "real" / "a" / "007.png").read_bytes())
    run = [
        "eval", str(work / "real"), str(work / "fake"), "--protocol", "compact", "--metrics", "fid,pr,ind", "--floor",
        "--per-class", "--device", "cpu", "-q", "-o", str(work / "run.json"), "--report", str(work / "run.html"),
        "--per-image", str(work / "run.csv"),
    ]  # fmt: skip
    assert main(run) == 0
    return work


def test_the_page_is_sound_and_small(folder: Path) -> None:
    page = Page(folder / "run.html")
    require_sound(page)
    assert (folder / "run.html").stat().st_size < 1_000_000
    said = page.said()
    order = ["Results", "All metrics", "Protocol and provenance", "Warnings and notes", "Plots", "Images behind"]
    places = [said.index(text) for text in order]
    assert places == sorted(places)


def test_hostile_names_are_shown_and_not_obeyed(folder: Path) -> None:
    page = Page(folder / "run.html")
    assert "<img src=x" not in page.text
    assert "{{ 7*7 }}" in page.said()
    assert HOSTILE in "".join(page.words)


def test_every_number_of_the_document_is_on_the_page(folder: Path) -> None:
    said = Page(folder / "run.html").said()
    for result in read_record(folder / "run.json").evaluation.results.values():
        assert result.label in said
        assert str(result.n_fake) in said
        if result.interval is not None:
            assert f"{result.interval.low:.2f}".replace("-", "−")[:4] in said
        else:
            assert result.reason is not None
            assert str(result.reason) in said


def test_grids_show_what_they_say(folder: Path) -> None:
    page = Page(folder / "run.html")
    assert page.captions("Least realistic fakes")[0].startswith("outlier.png: realism 0.")
    assert page.captions("Most realistic fakes")[0] == "copy.png: realism ∞"
    assert page.captions("Fakes next to their nearest reals")[0] == "copy.png: 0.00, copy, pixel by pixel"
    assert page.captions("Fakes that raise the Frechet distance most")[0].startswith("outlier.png: influence +")
    uncovered = page.captions("Reals that no fake covers")
    distances = [float(re.search(r": ([\d.e+]+) from a fake", text).group(1)) for text in uncovered]  # type: ignore[union-attr]
    assert distances == sorted(distances, reverse=True)
    assert len(uncovered) == min(MANY, int((read_record(folder / "run.json").arrays["covered_real"] == 0).sum()))


def test_the_images_are_those_of_the_files(folder: Path) -> None:
    text = (folder / "run.html").read_text(encoding="utf-8")
    (uri,) = set(
        re.findall(r'src="data:image/png;base64,([^"]*)" alt="fake image a/outlier\.png; outlier\.png: realism', text)
    )
    with Image.open(io.BytesIO(base64.b64decode(uri))) as image:
        shown = np.asarray(image)
    with Image.open(folder / "fake" / "a" / "outlier.png") as image:
        np.testing.assert_array_equal(shown, np.asarray(image))


def test_a_page_from_the_document_is_that_of_the_run(folder: Path, capsys: Capture) -> None:
    assert main(["report", str(folder / "run.json"), "-o", str(folder / "again.html"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["report"]
    assert told["runs"] == 1
    assert told["bytes"] == (folder / "again.html").stat().st_size
    one, other = ((folder / name).read_text(encoding="utf-8") for name in ("run.html", "again.html"))
    assert one.split("<main>")[1] == other.split("<main>")[1].replace("run.json", str(folder / "fake"))


def test_images_that_have_changed_are_left_out(folder: Path, tmp_path: Path) -> None:
    """A file that was replaced is not shown in place of the one that was measured; nor is a set of another number."""
    outlier = folder / "fake" / "a" / "outlier.png"
    before = outlier.read_bytes()
    try:
        outlier.write_bytes((folder / "fake" / "a" / "001.png").read_bytes())
        assert main(["report", str(folder / "run.json"), "-o", str(tmp_path / "one.html"), "-q"]) == 0
        page = Page(tmp_path / "one.html")
        assert not page.captions("Least realistic fakes")[0].startswith("outlier.png")
        assert "1 image has changed since the measurement." in page.said()
        outlier.unlink()
        assert main(["report", str(folder / "run.json"), "-o", str(tmp_path / "two.html"), "-q"]) == 0
        page = Page(tmp_path / "two.html")
        assert "held 102 images when it was measured and holds 101 now" in page.said()
        assert page.captions("Least realistic fakes") == []
        require_sound(page)
    finally:
        outlier.write_bytes(before)


def test_without_the_values_of_single_images(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bare.json").write_bytes((folder / "run.json").read_bytes())
    assert main(["report", str(tmp_path / "bare.json"), "-o", str(tmp_path / "bare.html"), "-q"]) == 0
    page = Page(tmp_path / "bare.html")
    require_sound(page)
    assert "Left out: run.samples.npz is not in the folder of bare.json." in page.said()
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_a_document_alone_runs_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that is imported runs where the user names it, and not because a file of results says so."""
    module = "marking_generator"
    (tmp_path / f"{module}.py").write_text(
        "import torch\nfrom pathlib import Path\n"
        "def make(z):\n    Path('ran').touch()\n    return torch.tanh(z.reshape(-1, 3, 8, 8))\n"
        "make.latent_dim, make.value_range = 192, (-1.0, 1.0)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    common = ["--num-samples", "40", "--protocol", "compact", "--metrics", "pr", "--device", "cpu", "-q"]
    run = ["eval", "dataset:shapes:8@1", f"gen:{module}:make", *common, "-o", "R.json", "--report", "one.html"]
    assert main(run) == 0
    assert len(Page(Path("one.html")).captions("Random fakes")) == MANY
    Path("ran").unlink()
    assert main(["report", "R.json", "-o", "two.html", "-q"]) == 0
    assert not Path("ran").exists()
    assert f"gen:{module}:make is a program" in Page(Path("two.html")).said()


def test_changes_against_a_baseline_and_several_runs(folder: Path, tmp_path: Path) -> None:
    run = str(folder / "run.json")
    assert main(["report", run, run, "--baseline", run, "-o", str(tmp_path / "two.html"), "-q"]) == 0
    page = Page(tmp_path / "two.html")
    require_sound(page)
    assert "run.json (1)" in page.said()
    assert "Changes against the baseline run.json" in page.said()
    assert "no difference beyond" in page.said()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "none.json"], "none.json does not exist"),
        (["report", "."], "holds no training run"),
        (["report", "R.json", "-o", "no/page.html"], "its folder does not exist"),
        (["eval", "a", "b", "--per-image", "table.txt"], ".csv or .npz"),
    ],
)
def test_iv(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_check_says_what_differs(tmp_path: Path) -> None:
    for name, kind in (("real", "png"), (HOSTILE, "jpg")):
        (tmp_path / name).mkdir()
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.{kind}")
    page = tmp_path / "check.html"
    assert main(["check", str(tmp_path / "real"), str(tmp_path / HOSTILE), "--report", str(page), "-q"]) == 0
    found = Page(page)
    require_sound(found)
    assert "File formats differ" in found.said()
    assert HOSTILE in "".join(found.words)
