"""The documentation: built as strictly as mkdocs can, without another host, and saying what the package says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from PIL import Image
from support.browser import needs_browser, opened

import ganeval
from ganeval.engine.config import EvaluationConfig, all_options
from ganeval.engine.public_statistics import public_statistics
from ganeval.features.published import SPECS
from ganeval.metrics.registry import METRICS

ROOT = Path(__file__).resolve().parents[1]
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}  # without being asked to


def build(target: Path, docs: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(target)], cwd=docs, text=True,
        capture_output=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    run = build(target)
    assert run.returncode == 0, run.stderr + run.stdout
    return target


class Fetched(HTMLParser):
    """What a browser fetches for a page by itself."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in FETCHED and (address := given.get(FETCHED[tag])):
            self.found.append(address)
        self.found += re.findall(r"url\(([^)]+)\)", given.get("style") or "")


def test_nothing_comes_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        outside = [address for address in Fetched(page).found if re.match(r"(\w+:)?//", address)]
        assert outside == [], page.name
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\([\"']?(?:\w+:)?//", text), sheet.name


@needs_browser
@pytest.mark.parametrize(
    ("page", "width", "dark"), [("index", 1300, False), ("choosing", 1300, True), ("reference/metrics", 480, False)]
)
def test_pages_in_a_browser(site: Path, tmp_path: Path, page: str, width: int, dark: bool) -> None:
    said, asked, picture = opened(site / f"{page}.html", tmp_path, width, dark=dark)
    assert said == []
    assert asked == []
    with Image.open(picture) as image:
        corner = image.convert("L").getpixel((4, 800))
    assert isinstance(corner, (int, float))
    assert (corner < 70) == dark


def test_every_fence_is_a_block(site: Path) -> None:
    """Tags behind a language are for the tests, and no Markdown."""
    for page in site.rglob("*.html"):
        assert "```" not in page.read_text(encoding="utf-8"), page.name


def test_reference_pages_are_made_of_the_package(site: Path) -> None:
    pages = ("metrics", "weights", "statistics")
    text = {name: (site / "reference" / f"{name}.html").read_text(encoding="utf-8") for name in pages}
    assert all(f"<code>{name}</code>" in text["metrics"] for name in METRICS)
    assert all(f"<code>{name}</code>" in text["weights"] for name in SPECS)
    assert all(f"<code>{name}</code>" in text["statistics"] for name in public_statistics())
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "ganeval stats build" in commands
    assert "--baseline" in commands
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert all(f">{name}<" in python for name in ganeval.__all__ if name not in ("__version__", "GanEvalError"))
    assert all(f"<code>{name}</code>" in python for name in all_options(EvaluationConfig))


def test_a_broken_link_ends_the_build(tmp_path: Path) -> None:
    """Of a page, and of a heading."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    validation = settings[settings.index("validation:") :]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[b](missing.md) [c](index.md#absent)\n", encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\ntheme: material\n{validation}", encoding="utf-8")
    run = build(tmp_path / "site", tmp_path)
    assert run.returncode != 0
    assert all(link in run.stdout + run.stderr for link in ("'missing.md'", "#absent"))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_pages_outside_the_site(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if not target.startswith("http")]
    assert targets or name != "README.md"
    assert [target for target in targets if not (ROOT / target).exists()] == []


def precision() -> ModuleType:
    spec = importlib.util.spec_from_file_location("precision", ROOT / "benchmarks" / "precision.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["precision"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_precision_is_the_kept_file(tmp_path: Path) -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "precision.json").read_text(encoding="utf-8"))
    page = ROOT / "docs" / "precision.md"
    copy = tmp_path / "precision.md"
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    precision().write_page(copy, found)
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_every_row_of_the_table_of_precision_holds(tmp_path: Path) -> None:
    """Each peer is run through its own code, as it is installed here."""
    for package in precision().PACKAGES:
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"needs {package}: pip install -e '.[dev,nightly]'")
    written = tmp_path / "precision.json"
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "precision.py"), "-o", str(written)],
        text=True,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    rows = json.loads(written.read_text(encoding="utf-8"))["rows"]
    assert len(rows) > 25
    assert [row for row in rows if not 0 <= row["difference"] <= row["tolerance"]] == []
    assert any(row["difference"] > 0 for row in rows)


def test_citation_and_notice() -> None:
    """The fields that the Citation File Format asks for, of this version; and the licence of every file of weights."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert str(cited["version"]) == ganeval.__version__
    assert cited["license"] == "Apache-2.0"
    assert all(set(author) & {"name", "family-names"} for author in cited["authors"])
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert all(spec.licence in notice for spec in SPECS.values())
