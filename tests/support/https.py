"""A local https server in place of the publishers of statistics, with the paths that the manifest has."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ganeval.engine import public_statistics as named
from ganeval.files import reference_stats_dir

CERTIFICATE = Path(__file__).with_name("localhost.pem")


class Publishers:
    """The server.

    Attributes:
        files: what it serves, by path.
        moved: addresses that it redirects to, by path.
        requests: the paths that were asked for.
    """

    def __init__(self, files: Mapping[str, bytes], *, tls: bool = True) -> None:
        self.files, self.moved, self.requests = dict(files), dict[str, str](), list[str]()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                content = server.files.get(self.path)
                if (address := server.moved.get(self.path)) is not None:
                    self.send_response(302)
                    self.send_header("Location", address)
                    self.end_headers()
                elif content is None:
                    self.send_error(404)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host = f"localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def path_of(name: str) -> str:
    """The path of public statistics on their publisher's host."""
    url = named.public_statistics()[name].url
    assert url is not None
    return urlsplit(url).path


@contextmanager
def publishers(
    files: Mapping[str, bytes], folder: Path, monkeypatch: pytest.MonkeyPatch, *, weights: str | None = None
) -> Iterator[Publishers]:
    """Serve statistics by name; the manifest is the real one with the hosts of its https addresses replaced.

    Args:
        files: by the name of the statistics.
        folder: empty; for the manifest and the cache folder of the user.
        weights: SHA-256 in place of that of the manifest.
    """
    server = Publishers({path_of(name): content for name, content in files.items()})
    manifest = (reference_stats_dir() / "manifest.toml").read_text(encoding="utf-8")
    manifest = re.sub(r'base = "https://[^/"]+', f'base = "https://{server.host}', manifest)
    if weights is not None:
        manifest = re.sub(r'^weights = "\w+"', f'weights = "{weights}"', manifest, flags=re.MULTILINE)
    (folder / "manifest.toml").write_text(manifest, encoding="utf-8")
    for name in ("GANEVAL_OFFLINE", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.setattr(named, "reference_stats_dir", lambda: folder)
    monkeypatch.setattr(named.platformdirs, "user_cache_path", lambda *_, **__: folder / "cache")
    named.read_manifest.cache_clear()
    try:
        yield server
    finally:
        server.close()
        named.read_manifest.cache_clear()
