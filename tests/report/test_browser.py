"""The page in a browser: no console error and no request, and the same test does find both in a page that has them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from PIL import Image

from ganeval.cli.main import main

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser is installed ({', '.join(NAMES)})")
BROKEN = "<!DOCTYPE html><title>x</title><img src='http://elsewhere.invalid/x.png' alt='x'><script>nothing()</script>"


class Listener:
    """A proxy that serves nothing and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            with connection:
                connection.settimeout(5)
                self.asked.append(connection.recv(4096))

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def opened(page: Path, folder: Path, width: int = 1100, *, dark: bool = False) -> tuple[list[str], list[bytes], Path]:
    """(what the console said, what was asked of the network, the screenshot)."""
    listener, picture = Listener(), folder / f"{page.stem}-{width}-{dark}.png"
    try:
        run = subprocess.run(
            [
                str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-default-apps", "--disable-features=OptimizationHints,MediaRouter",
                f"--proxy-server=127.0.0.1:{listener.port}", f"--user-data-dir={folder / 'profile'}",
                "--enable-logging=stderr", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--window-size={width},1600", "--virtual-time-budget=2000", f"--screenshot={picture}", page.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        listener.close()
    assert run.returncode == 0, run.stderr
    said = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return said, [what for what in listener.asked if b"elsewhere" in what or b"google" not in what], picture


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("browser") / "run.html"
    sets = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "60"]
    options = ["--protocol", "compact", "--metrics", "fid,pr,ind", "--device", "cpu", "-q", "--report", str(target)]
    assert main(["eval", *sets, *options]) == 0
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
