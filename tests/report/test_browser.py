"""The page in a browser: no console error and no request, and the same test does find both in a page that has them."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.browser import BROWSER, needs_browser, opened

from ganeval.cli.main import main

pytestmark = needs_browser
BROKEN = "<!DOCTYPE html><title>x</title><img src='http://elsewhere.invalid/x.png' alt='x'><script>nothing()</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("browser") / "run.html"
    sets = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "60"]
    options = ["--protocol", "compact", "--metrics", "fid,pr,ind", "--device", "cpu", "-q", "--report", str(target)]
    options += ["-o", str(target.with_name("run-1.json"))]
    assert main(["eval", *sets, *options]) == 0
    return target


@pytest.fixture(scope="module")
def wide_page(page: Path) -> Path:
    """The same run four times, one of them with classes and with large numbers, against another of them."""
    first = page.with_name("run-1.json")
    for step in (2, 30, 4000):
        document = json.loads(first.read_text(encoding="utf-8"))
        fid = document["results"]["fid"]
        fid["value"] *= step**2
        if step == 4000:
            entry = {"interval": [-123456.5, 98765.25], "reason": None, "n_real": 9, "n_fake": 9}
            names = ("a name that goes on and on", "WWWWWWWWWWWWWWWWWWWW", "deer")
            fid["details"]["per_class"] = {name: {**entry, "value": 1e4, "corrected": 9e3} for name in names}
        page.with_name(f"run-{step}.json").write_text(json.dumps(document), encoding="utf-8")
    runs = [str(path) for path in page.parent.glob("run-*.json")]
    target = page.with_name("wide.html")
    assert main(["report", *runs, "--baseline", str(first), "-o", str(target), "-q"]) == 0
    return target


@pytest.mark.parametrize(("width", "dark"), [(1100, False), (1100, True), (500, False)])
def test_no_console_error_and_no_request(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    said, asked, picture = opened(page, tmp_path, width, dark=dark)
    assert said == []
    assert asked == []
    with Image.open(picture) as image:
        assert image.size == (width, 1600)
        corner = image.convert("L").getpixel((2, 2))
        assert isinstance(corner, (int, float))
        assert (corner < 60) == dark


def test_the_test_finds_both(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(BROKEN, encoding="utf-8")
    said, asked, _ = opened(broken, tmp_path)
    assert any("nothing is not defined" in line for line in said)
    assert any(b"elsewhere.invalid" in what for what in asked)


MEASURE = """<script>
addEventListener("load", () => {
  const width = document.documentElement.clientWidth, out = [], texts = [];
  const outside = (inner, outer) =>
    inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
  const over = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
  document.querySelectorAll("body *").forEach((e) => {
    const hidden = e.closest(".scroll") && !e.matches(".scroll") || e.closest("svg") && !e.matches("svg");
    if (!hidden && e.getBoundingClientRect().right > width + 1) out.push(e.tagName + ": " + e.textContent.slice(0, 40));
  });
  document.querySelectorAll("figure.plot > svg").forEach((svg) => {
    const boxes = [...svg.querySelectorAll("text")].map((t) => [t.textContent, t.getBoundingClientRect()]);
    boxes.forEach(([text, box], i) => {
      if (outside(box, svg.getBoundingClientRect())) texts.push("clipped: " + text);
      boxes.slice(0, i).forEach(([other, b]) => {
        if (over(box, b)) texts.push("on each other: " + text + ", " + other);
      });
    });
  });
  const plots = document.querySelectorAll("figure.plot").length;
  parent.postMessage(JSON.stringify({ width, out, texts, plots }), "*");
});
</script>"""
FRAME = """<script>addEventListener("message", (event) => {
  const found = document.createElement("pre"); found.id = "found"; found.textContent = event.data;
  document.body.append(found);
});</script><iframe src="inner.html" style="border: 0; height: 900px; width: %dpx"></iframe>"""


def layout(text: str, folder: Path, width: int) -> dict[str, Any]:
    """What sticks out of a page of that width, and which words of its plots are cut or lie on each other."""
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    (folder / "inner.html").write_text(free.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    (folder / "outer.html").write_text(f"<body>{FRAME % width}</body>", encoding="utf-8")
    run = subprocess.run(
        [
            str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000",
            "--virtual-time-budget=5000", "--dump-dom", (folder / "outer.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', run.stdout, re.DOTALL)
    return dict(json.loads(html.unescape(found)))


@pytest.mark.parametrize("width", [360, 520, 1200])
def test_nothing_sticks_out_and_no_label_is_cut(wide_page: Path, tmp_path: Path, width: int) -> None:
    found = layout(wide_page.read_text(encoding="utf-8"), tmp_path, width)
    assert found == {"width": width, "out": [], "texts": [], "plots": found["plots"]}
    assert found["plots"] >= 8


def test_the_layout_test_finds_both(wide_page: Path, tmp_path: Path) -> None:
    text = wide_page.read_text(encoding="utf-8").replace("<main>", '<main><p style="width: 900px">wide</p>', 1)
    text = re.sub(r'(class="axis middle") x="[\d.]+"', r'\1 x="440"', text)
    found = layout(text, tmp_path, 520)
    assert "P: wide" in found["out"]
    assert any(words.startswith("clipped: ") for words in found["texts"])
