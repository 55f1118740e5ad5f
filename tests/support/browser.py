"""A page in a headless browser: what its console says, and what it asks of the network."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"no browser is installed ({', '.join(NAMES)})")


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
