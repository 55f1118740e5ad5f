"""Images on other machines: fsspec's memory, a local web server, and (nightly) a local S3 server."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganeval.cli.main import main
from ganeval.errors import ConfigError, InputError
from ganeval.images import remote
from ganeval.images.open import open_images
from ganeval.images.shapes import render
from ganeval.images.types import ImageSource

fsspec = pytest.importorskip("fsspec", reason="needs ganeval[remote]")
N = 6
IMAGES = np.stack([render(i, seed=6, size=20) for i in range(N)])


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def tar(start: int = 0, stop: int = N, mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for i in range(start, stop):
            for name, data in (
                (f"{i:03}.png", png(IMAGES[i])),
                (f"{i:03}.cls", str(i % 2).encode()),
                (f"{i:03}.txt", b"x"),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, image in enumerate(IMAGES):
            archive.writestr(f"{'ab'[i % 2]}/{i}.png", png(image))
    return file.getvalue()


def array() -> bytes:
    file = io.BytesIO()
    np.save(file, IMAGES)
    return file.getvalue()


def pixels(source: ImageSource) -> np.ndarray:
    return np.concatenate([np.asarray(batch.images) for batch in source.batches(4)]).transpose(0, 2, 3, 1)


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    for path in files.ls("/", detail=False):
        files.rm(path, recursive=True)


def test_a_folder_is_listed_and_its_images_are_fetched(memory: Any) -> None:
    for i, image in enumerate(IMAGES):
        memory.pipe(f"/set/{'ab'[i % 2]}/{i}.png", png(image))
    memory.pipe("/set/notes.txt", b"x")
    source = open_images("memory://set/")
    source.check()
    assert source.names() == ["a/0.png", "a/2.png", "a/4.png", "b/1.png", "b/3.png", "b/5.png"]
    assert source.labels() == list("aaabbb")
    assert np.array_equal(pixels(source), IMAGES[[0, 2, 4, 1, 3, 5]])
    assert source.report.ignored == {".txt": 1}
    labels = {"labels": [[name, i] for i, name in enumerate(source.names() or [])]}
    memory.pipe("/set/dataset.json", json.dumps(labels).encode())
    assert open_images("memory://set").labels() == [str(i) for i in range(N)]
    memory.rm("/set/a/2.png")
    with pytest.raises(InputError, match=r"a/2\.png: it cannot be fetched"):
        pixels(source)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_archive_is_streamed(memory: Any, mode: str) -> None:
    name = "a.tar" if mode == "w" else "a.tar.gz"
    memory.pipe(f"/{name}", tar(mode=mode))
    source = open_images(f"memory://{name}")
    for _ in range(2):
        assert np.array_equal(pixels(source), IMAGES)
        assert source.labels() == [str(i % 2) for i in range(N)]
    assert pixels(open_images(f"memory://{name}", num=2)).shape[0] == 2
    with pytest.raises(InputError, match="an image file of .* bytes; at most 10 are read"):
        pixels(open_images(f"memory://{name}", max_image_bytes=10))


def test_shards_are_streamed_one_after_the_other(memory: Any) -> None:
    memory.pipe({"/s-000.tar": tar(0, 4), "/s-001.tar": tar(4, N)})
    assert np.array_equal(pixels(open_images("memory://s-{000..001}.tar")), IMAGES)
    with pytest.raises(InputError, match=r"No such file: 'memory://s-002\.tar'"):
        open_images("memory://s-{000..002}.tar")


def test_a_cut_archive_is_an_error(memory: Any) -> None:
    whole = tar()
    for end in (len(whole) // 2 + 100, 2 * 512 * 3):
        memory.pipe("/a.tar", whole[:end])
        with pytest.raises(InputError, match="unexpected end of data|without the end mark"):
            pixels(open_images("memory://a.tar"))


@pytest.mark.parametrize(("name", "data"), [("a.zip", zipped), ("a.npy", array)])
def test_another_file_is_copied_and_the_copy_removed(
    memory: Any, name: str, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote.tempfile, "tempdir", str(tmp_path))
    memory.pipe(f"/{name}", data())
    source = open_images(f"memory://{name}")
    assert sorted(map(tuple, pixels(source).reshape(N, -1))) == sorted(map(tuple, IMAGES.reshape(N, -1)))
    assert len(list(tmp_path.iterdir())) == 1
    del source
    assert list(tmp_path.iterdir()) == []


def test_parquet_shards(memory: Any, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for number, part in enumerate((IMAGES[:4], IMAGES[4:])):
        parquet.write_table(arrow.table({"image": [png(image) for image in part]}), tmp_path / "x")
        memory.pipe(f"/s-{number}.parquet", (tmp_path / "x").read_bytes())
    assert np.array_equal(pixels(open_images("memory://s-{0..1}.parquet")), IMAGES)


def test_bad_input_is_one_message(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/a/x.csv", b"x")
    memory.pipe("/b.csv", b"x")
    for text, problem in (
        ("memory://nothing/", "nothing below this address"),
        ("memory://nothing.zip", "No such file or folder"),
        ("memory://a", "has no file with the suffix of an image"),
        ("memory://b.csv", "is not a folder, .zip"),
    ):
        with pytest.raises(InputError, match=problem):
            open_images(text)
    with pytest.raises(InputError, match="is on another machine, and nothing is fetched because GANEVAL_OFFLINE"):
        open_images("https://user:secret@example.org/a.zip?token=secret")


@pytest.mark.parametrize("name", ["s3fs", "fsspec"])
def test_without_a_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANEVAL_OFFLINE", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(ConfigError, match=rf"^{name} is needed to read s3://: pip install 'ganeval\[remote\]'\.$"):
        open_images("s3://bucket/a.zip")


def test_secrets_stay_out_of_the_provenance(memory: Any) -> None:
    assert remote.public_url("https://me:secret@host/x.zip?token=secret#x") == "https://host/x.zip"
    assert remote.public_url("s3://bucket/a@b/c") == "s3://bucket/a@b/c"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.delenv("GANEVAL_OFFLINE")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_web_server(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiohttp", reason="needs ganeval[remote]")
    (tmp_path / "set").mkdir()
    for i, image in enumerate(IMAGES):
        (tmp_path / "set" / f"{i}.png").write_bytes(png(image))
    (tmp_path / "a.zip").write_bytes(zipped())
    (tmp_path / "a.tar").write_bytes(tar())
    assert np.array_equal(pixels(open_images(f"{server}/set/")), IMAGES)
    assert np.array_equal(pixels(open_images(f"{server}/a.tar")), IMAGES)
    assert open_images(f"{server}/a.zip?token=1").length == N
    assert main(["check", f"{server}/a.zip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["check"][0]["n"] == N
    assert main(["check", f"{server}/b.zip"]) == 2
    assert "No such file or folder" in capsys.readouterr().err


@pytest.mark.nightly
def test_an_s3_server(monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    s3fs = pytest.importorskip("s3fs", reason="needs ganeval[remote]")
    monkeypatch.delenv("GANEVAL_OFFLINE")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    running = moto.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    try:
        files = s3fs.S3FileSystem()
        files.mkdir("bucket")
        for i, image in enumerate(IMAGES):
            files.pipe(f"bucket/set/{i}.png", png(image))
        files.pipe("bucket/a.tar", tar())
        files.pipe("bucket/a.zip", zipped())
        assert np.array_equal(pixels(open_images("s3://bucket/set/")), IMAGES)
        assert np.array_equal(pixels(open_images("s3://bucket/a.tar")), IMAGES)
        assert open_images("s3://bucket/a.zip").labels() == list("aaabbb")
        with pytest.raises(InputError, match="nothing below this address"):
            open_images("s3://bucket/none/")
    finally:
        running.stop()
