"""Downloads from a server on this machine: whole and right, or nothing."""

from __future__ import annotations

import _thread
import hashlib
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ganeval import download
from ganeval.download import fetch, is_offline, sha256_of
from ganeval.errors import ConfigError, WeightsError

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves CONTENT at /good and its caricatures elsewhere; counts requests."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.ranges: list[str | None] = []
        self.gate = threading.Event()
        self.gate.set()
        self.replacement = CONTENT
        self.part = Path()  # where the client keeps what has come
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                server.ranges.append(self.headers.get("Range"))
                server.gate.wait(20)
                getattr(self, "serve_" + self.path.rpartition("/")[2], self.serve_nothing)()

            def send_content(self, content: bytes, length: int | None) -> None:
                self.send_response(200)
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(content)

            def serve_good(self) -> None:
                self.send_content(CONTENT, len(CONTENT))

            def serve_truncated(self) -> None:
                self.send_content(CONTENT[:-1000], len(CONTENT))

            def serve_short(self) -> None:  # truncated by a proxy that adjusts the header
                self.send_content(CONTENT[:-1000], len(CONTENT) - 1000)

            def serve_anonymous(self) -> None:
                self.send_content(CONTENT, None)

            def serve_replaced(self) -> None:
                self.send_content(server.replacement, len(server.replacement))

            def serve_in_pieces(self) -> None:  # each connection breaks off after a million bytes
                start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
                if start >= len(server.replacement):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(server.replacement) - start))
                self.end_headers()
                self.wfile.write(server.replacement[start : start + 1_000_000])

            def serve_endless(self) -> None:
                self.send_content(CONTENT * 40, None)

            def serve_interrupted(self) -> None:
                self.send_content(CONTENT[:1_500_000], len(CONTENT))
                self.wfile.flush()
                deadline = time.monotonic() + 20
                while not (server.part.is_file() and server.part.stat().st_size) and time.monotonic() < deadline:
                    time.sleep(0.001)
                _thread.interrupt_main()  # Ctrl-C comes with some of the file there
                self.wfile.write(CONTENT[1_500_000:])

            def serve_nothing(self) -> None:
                self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("GANEVAL_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = Server()
    yield running
    running.close()


def get(server: Server, path: str, target: Path, notes: list[str] | None = None, **changes: object) -> Path:
    settings: dict[str, object] = {"sha256": SHA256, "bytes": len(CONTENT), "allow_http": True, **changes}
    notify = (notes if notes is not None else []).append
    return fetch(f"{server.url}/{path}", target, **settings, what="test weights", licence="CC0-1.0", notify=notify)  # type: ignore[arg-type]


def test_fetch_announces_verifies_and_leaves_nothing_else(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, notes = tmp_path / "new" / "folder" / "w.pth", []
    assert get(server, "good", target, notes) == target
    assert target.read_bytes() == CONTENT
    assert os.listdir(target.parent) == ["w.pth"]
    (announcement,) = notes
    for part in ("test weights", "3.0 MB", f"{server.url}/good", "CC0-1.0", str(target)):
        assert part in announcement
    assert capsys.readouterr().out == ""
    assert get(server, "good", target, notes) == target  # at hand now
    assert server.requests == ["/good"]
    assert len(notes) == 1
    if os.name == "posix":
        umask = os.umask(0)
        os.umask(umask)
        assert target.stat().st_mode & 0o777 == 0o666 & ~umask  # a shared folder stays shared


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("truncated", {}, r"was cut short: 2999000 bytes from .*/truncated, expected 3000000"),
        ("truncated", {"sha256": None, "bytes": None}, "was cut short: 2999000 bytes"),
        ("short", {}, "was cut short: 2999000 bytes"),
        ("short", {"bytes": None}, rf"gave SHA-256 [0-9a-f]{{64}}, expected {SHA256}"),
        ("good", {"sha256": SHA256[:-1] + ("0" if SHA256[-1] != "0" else "1")}, f"gave SHA-256 {SHA256}, expected"),
        ("good", {"bytes": 10}, "is too long"),
        ("endless", {}, "is too long"),
        ("missing", {}, r"http://127\.0\.0\.1:\d+/missing answered 404"),
    ],
)
@pytest.mark.parametrize("old", [None, b"the file that was there"])
def test_wrong_downloads_change_nothing(
    server: Server, tmp_path: Path, path: str, changes: dict[str, object], message: str, old: bytes | None
) -> None:
    target = tmp_path / "w.pth"
    if old is not None:
        target.write_bytes(old)
        if changes.get("sha256", "") is None:  # without a published hash, the hash seen first is the right one
            (tmp_path / "w.pth.sha256").write_text(f"{SHA256}  w.pth\n")
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    with pytest.raises(WeightsError, match=message):
        get(server, path, target, **changes)
    after = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    begun = after.pop(".w.pth.part", None)  # what a later call goes on from
    assert after == before
    known = old is not None or changes.get("sha256", SHA256) is not None
    assert begun == (CONTENT[:-1000] if known and "cut short" in message else None)


def test_a_damaged_file_is_replaced(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "w.pth"
    target.write_bytes(CONTENT[:-1])
    get(server, "good", target)
    assert target.read_bytes() == CONTENT


def test_two_threads_one_download(server: Server, tmp_path: Path) -> None:
    server.gate.clear()
    target, notes = tmp_path / "w.pth", list[str]()
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(get, server, "good", target, notes) for _ in range(2)]
        deadline = time.monotonic() + 20
        while not any("waiting" in note for note in notes) and time.monotonic() < deadline:
            time.sleep(0.001)
        server.gate.set()  # the first gets its answer only now, while the second waits for the lock
        assert [r.result() for r in results] == [target, target]
    assert server.requests == ["/good"]
    assert sum("Fetching" in note for note in notes) == sum("waiting" in note for note in notes) == 1
    assert os.listdir(tmp_path) == ["w.pth"]


@pytest.mark.parametrize("old", [None, b"old"])
def test_interrupt_leaves_what_can_be_continued(server: Server, tmp_path: Path, old: bytes | None) -> None:
    target = tmp_path / "w.pth"
    if old:
        target.write_bytes(old)
    server.part = tmp_path / ".w.pth.part"
    with pytest.raises(KeyboardInterrupt):
        get(server, "interrupted", target)
    assert set(os.listdir(tmp_path)) == {".w.pth.part", *(["w.pth"] if old else [])}
    assert not old or target.read_bytes() == old
    get(server, "in_pieces", target)
    assert os.listdir(tmp_path) == ["w.pth"]
    assert target.read_bytes() == CONTENT
    assert server.ranges[1] is not None


def test_offline_forbids_the_network_but_not_what_is_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANEVAL_OFFLINE", "1")
    target = tmp_path / "w.pth"
    with pytest.raises(WeightsError) as caught:
        get(server, "good", target)
    for part in ("GANEVAL_OFFLINE", f"{server.url}/good", str(target), SHA256):
        assert part in str(caught.value)
    target.write_bytes(b"another")
    with pytest.raises(WeightsError, match="is not the right file, and nothing is downloaded because GANEVAL_OFFLINE"):
        get(server, "good", target)
    target.write_bytes(CONTENT)
    assert get(server, "good", target) == target
    assert server.requests == []


@pytest.mark.parametrize(
    ("value", "offline"),
    [(v, True) for v in ("1", "yes", "on", "True")] + [(v, False) for v in ("", "0", "false", " No ", "off")],
)
def test_values_of_the_offline_variable(value: str, offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANEVAL_OFFLINE", value)
    assert is_offline() is offline


def test_an_unclear_offline_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANEVAL_OFFLINE", "perhaps")
    with pytest.raises(ConfigError, match="GANEVAL_OFFLINE is 'perhaps'; expected yes or no"):
        is_offline()


def test_unknown_hash_is_recorded_and_held_to(server: Server, tmp_path: Path) -> None:
    target, sidecar, notes = tmp_path / "stats.npz", tmp_path / "stats.npz.sha256", []
    get(server, "anonymous", target, notes, sha256=None, bytes=None)
    assert target.read_bytes() == CONTENT
    assert sidecar.read_text() == f"{SHA256}  stats.npz\n"
    assert any("unverified" in note and SHA256 in note for note in notes)
    notes.clear()
    get(server, "anonymous", target, notes, sha256=None, bytes=None)
    assert notes == []
    assert len(server.requests) == 1
    target.write_bytes(b"damaged later")
    server.replacement = b"something else"
    with pytest.raises(WeightsError, match=r"if you want the new file, remove .*stats\.npz\.sha256"):
        get(server, "replaced", target, sha256=None, bytes=None)
    assert target.read_bytes() == b"damaged later"
    get(server, "good", target, sha256=None, bytes=None)
    assert sha256_of(target) == SHA256


def test_http_without_a_known_hash_is_refused(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "stats.npz"
    with pytest.raises(WeightsError, match=r"is an http address and no hash of the file is known.*--allow-http"):
        get(server, "good", target, sha256=None, allow_http=False)
    assert server.requests == []
    get(server, "good", target, allow_http=False)  # its hash shows what came
    target.unlink()
    (tmp_path / "stats.npz.sha256").write_text(f"{SHA256}  stats.npz\n")
    assert get(server, "good", target, sha256=None, allow_http=False).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_recorded_too(tmp_path: Path) -> None:
    target, notes = tmp_path / "stats.npz", list[str]()
    target.write_bytes(CONTENT)
    fetch("https://127.0.0.1/x", target, sha256=None, bytes=None, what="statistics", notify=notes.append)
    assert "unverified" in notes[0]
    assert (tmp_path / "stats.npz.sha256").read_text().startswith(SHA256)


def test_without_a_callback_the_logger_gets_the_notes(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(f"{server.url}/good", tmp_path / "w", sha256=None, bytes=None, what="test weights", allow_http=True)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "WARNING"]
    assert "Fetching test weights" in caplog.text


def test_unreachable_server_and_unusable_addresses(tmp_path: Path, server: Server) -> None:
    dead = server.url
    server.close()
    with pytest.raises(WeightsError, match=r"Cannot fetch x from http://127.*refused.*Check the network"):
        fetch(f"{dead}/good", tmp_path / "w", sha256=SHA256, bytes=None, what="x")
    with pytest.raises(WeightsError, match="not an http or https address"):
        fetch("file:///etc/hostname", tmp_path / "w", sha256=SHA256, bytes=None, what="x")
    assert os.listdir(tmp_path) == []


def test_a_silent_server_times_out(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server.gate.clear()
    with pytest.raises(WeightsError, match="timed out"):
        get(server, "good", tmp_path / "w.pth")
    server.gate.set()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match=r"Cannot write test weights to .*file.w\.pth"):
        get(server, "good", tmp_path / "file" / "w.pth")


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(WeightsError, match=r"needs 3\.0 MB in .*, which has 0\.0 MB free"):
        get(server, "good", tmp_path / "w.pth")
    assert os.listdir(tmp_path) == []


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    target, notes = tmp_path / "w.pth", list[str]()
    get(server, "in_pieces", target, notes)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-", "bytes=2000000-"]
    assert sum("Trying to go on after" in note for note in notes) == 2
    assert os.listdir(tmp_path) == ["w.pth"]
    with pytest.raises(WeightsError, match="was cut short: 1000000 bytes"):  # nothing shows that both halves fit
        get(server, "in_pieces", tmp_path / "x.pth", sha256=None)
    assert os.listdir(tmp_path) == ["w.pth"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("path", ["in_pieces", "good"])
@pytest.mark.parametrize("begun", [b"half of another file", CONTENT[:5], CONTENT, CONTENT + b"more"])
def test_whatever_an_earlier_call_has_left(
    server: Server, tmp_path: Path, begun: bytes, path: str, size: int | None
) -> None:
    (tmp_path / ".w.pth.part").write_bytes(begun)
    for _ in range(2):
        try:
            get(server, path, tmp_path / "w.pth", bytes=size)
        except WeightsError:  # an answer of 416 tells only that the part is of no use
            assert os.listdir(tmp_path) == []
    assert os.listdir(tmp_path) == ["w.pth"]
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_mirror_is_asked_first(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANEVAL_MIRROR", f"{server.url}/mirror/")
    publisher = "http://127.0.0.1:9/elsewhere"
    known = {"sha256": SHA256, "bytes": None, "what": "test weights"}
    target, notes = tmp_path / "w.pth", list[str]()
    assert fetch(f"{publisher}/good?raw=1", target, **known).read_bytes() == CONTENT  # type: ignore[arg-type]
    assert server.requests == ["/mirror/good"]
    target.unlink()
    for path in ("missing", "replaced"):  # a mirror without the file, and one with another file
        server.replacement = b"another" if path == "replaced" else CONTENT
        monkeypatch.setenv("GANEVAL_MIRROR", f"{server.url}/mirror")
        with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9/elsewhere.*refused"):
            fetch(f"{publisher}/{path}", target, **known, notify=notes.append)  # type: ignore[arg-type]
    assert [note.partition(":")[0] for note in notes if "did not serve" in note] == [
        "the mirror did not serve test weights"
    ] * 2
    assert not target.exists()
    server.requests.clear()
    with pytest.raises(WeightsError, match="refused"):  # without a hash nothing shows that it is the publisher's
        fetch(f"{publisher}/good", target, sha256=None, bytes=None, what="test weights", allow_http=True)
    assert server.requests == []
    monkeypatch.setenv("GANEVAL_MIRROR", "/mnt/mirror")
    with pytest.raises(WeightsError, match="GANEVAL_MIRROR is '/mnt/mirror'; expected an http or https address"):
        fetch(f"{publisher}/good", target, **known)  # type: ignore[arg-type]


def test_a_proxy_is_asked_for_foreign_hosts(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    target = tmp_path / "w.pth"
    fetch("http://weights.example/good", target, sha256=SHA256, bytes=None, what="test weights")
    assert server.requests == ["http://weights.example/good"]
    assert target.read_bytes() == CONTENT
