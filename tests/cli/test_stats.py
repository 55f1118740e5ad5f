"""``ganeval stats list | fetch | verify``, with a local https server in place of the publishers."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.https import Publishers, publishers

from ganeval.cli.main import main
from ganeval.engine.public_statistics import find_statistics, get_statistics, public_statistics, read_manifest
from ganeval.errors import WeightsError

Capture = pytest.CaptureFixture[str]


def npz(**members: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **members)  # type: ignore[arg-type]
    return stream.getvalue()


CIFAR = npz(mu=np.zeros(4), sigma=np.eye(4))
OTHER = npz(mu=np.ones(4), sigma=np.eye(4))
SHA256 = hashlib.sha256(CIFAR).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publishers]:
    files = {"edm-cifar10-32": CIFAR, "jit-imagenet-256": OTHER, "coco-val2014": OTHER}
    with publishers(files, tmp_path, monkeypatch) as running:
        yield running


def listed(capsys: Capture, *options: str) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    assert main(["stats", "list", "--json", *options]) == 0
    return {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["statistics"]}


def test_the_list_has_all_entries_and_what_is_known_of_them(capsys: Capture) -> None:
    entries = listed(capsys)
    assert set(public_statistics()) | {"cifar10-test", "cifar10-train"} == set(entries)
    adm, jit, ttur = (entries[name] for name in ("adm-imagenet-256", "jit-imagenet-256", "ttur-cifar10-train"))
    assert (adm["dataset"], adm["resolution"], adm["n"], adm["images"]) == ("ImageNet, train", 256, 1281167, 10000)
    assert (adm["present"], adm["sha256"], adm["needs_http"]) == (False, None, False)
    assert str(jit["sha256"]).startswith("412046720c0d")
    assert ttur["needs_http"] is True
    assert entries["cifar10-test"]["present"] is True
    assert main(["stats", "list"]) == 0
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("ttur-cifar10-train "))
    for part in ("CIFAR-10, train", "32 px", "n = 50000", "ttur", "not fetched", "not published", "--allow-http"):
        assert part in line


@pytest.mark.parametrize(
    ("protocol", "count"),
    [("compact", 2), ("text2image-benchmark", 1), ("cmmd", 0)],
)
def test_the_list_of_one_protocol(protocol: str, count: int, capsys: Capture) -> None:
    assert len(listed(capsys, "--protocol", protocol)) == count


def test_protocols_of_one_key_share_their_statistics(capsys: Capture) -> None:
    assert listed(capsys, "--protocol", "adm") == listed(capsys, "--protocol", "ttur") != {}
    assert main(["stats", "list", "--protocol", "tturr"]) == 2
    assert "Did you mean ttur?" in capsys.readouterr().err


def test_fetched_over_https_and_the_hash_of_first_use_is_shown(server: Publishers, capsys: Capture) -> None:
    assert main(["stats", "fetch", "edm-cifar10-32"]) == 0
    out, err = capsys.readouterr()
    assert server.requests == ["/edm/fid-refs/cifar10-32x32.npz"]
    assert f"https://{server.host}/edm/fid-refs/cifar10-32x32.npz" in " ".join(err.split())
    assert SHA256 in out
    assert "no published hash; as first fetched" in out
    entry = listed(capsys)["edm-cifar10-32"]
    assert (entry["present"], entry["sha256"], entry["first_use_sha256"]) == (True, None, SHA256)
    assert main(["stats", "list"]) == 0
    assert f"{SHA256[:12]} (first use)" in capsys.readouterr().out
    assert main(["stats", "fetch", "stats:edm-cifar10-32", "--json"]) == 0  # it is there
    (fetched,) = json.loads(capsys.readouterr().out)["statistics"]
    assert fetched == {
        "name": "edm-cifar10-32",
        "path": entry["path"],
        "sha256": SHA256,
        "state": "first use",
    }
    assert len(server.requests) == 1
    assert main(["stats", "show", "stats:edm-cifar10-32"]) == 0
    assert len(server.requests) == 1


def test_a_published_hash_is_held(server: Publishers, capsys: Capture) -> None:
    assert main(["stats", "fetch", "jit-imagenet-256"]) == 2
    assert "is not the expected file" in " ".join(capsys.readouterr().err.split())
    assert listed(capsys)["jit-imagenet-256"]["present"] is False


def test_verify(server: Publishers, tmp_path: Path, capsys: Capture) -> None:
    assert main(["stats", "verify", "edm-cifar10-32"]) == 2
    assert "not on this machine" in capsys.readouterr().err
    assert main(["stats", "verify"]) == 0  # nothing is here
    find_statistics("edm-cifar10-32")
    assert main(["stats", "verify"]) == 0
    assert SHA256 in capsys.readouterr().out
    (tmp_path / "copy.npz").write_bytes(CIFAR)
    (tmp_path / "other.npz").write_bytes(OTHER)
    assert main(["stats", "verify", str(tmp_path / "copy.npz"), str(tmp_path / "other.npz"), "--json"]) == 0
    copy, other = json.loads(capsys.readouterr().out)["statistics"]
    assert (copy["name"], copy["state"]) == ("edm-cifar10-32", "first use")
    assert (other["name"], other["state"]) == (None, "unknown")
    get_statistics("edm-cifar10-32").path.write_bytes(OTHER)
    assert main(["stats", "verify"]) == 2
    assert "does not have the hash of its first download" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "bad.npz").write_bytes(CIFAR[:-40])
    assert main(["stats", "verify", str(tmp_path / "bad.npz")]) == 2
    assert main(["stats", "verify", "edm-cifar10-23"]) == 2
    assert "Did you mean stats:edm-cifar10-32?" in capsys.readouterr().err


def test_http_needs_permission_while_no_hash_is_known(server: Publishers, tmp_path: Path, capsys: Capture) -> None:
    plain = Publishers({"/cifar10-32x32.npz": CIFAR}, tls=False)
    manifest = (tmp_path / "manifest.toml").read_text("utf-8")
    manifest = manifest.replace(f"https://{server.host}/edm/fid-refs/", f"http://{plain.host}/")
    (tmp_path / "manifest.toml").write_text(manifest, "utf-8")
    read_manifest.cache_clear()
    try:
        for command in (["stats", "fetch", "edm-cifar10-32"], ["stats", "show", "stats:edm-cifar10-32"]):
            assert main(command) == 2
            assert "ganeval stats fetch NAME --allow-http" in " ".join(capsys.readouterr().err.split())
        assert plain.requests == []
        assert listed(capsys)["edm-cifar10-32"]["needs_http"] is True
        assert main(["stats", "fetch", "edm-cifar10-32", "--allow-http"]) == 0
        assert plain.requests == ["/cifar10-32x32.npz"]
        assert listed(capsys)["edm-cifar10-32"]["needs_http"] is False  # its hash is known now
        get_statistics("edm-cifar10-32").path.unlink()
        assert main(["stats", "fetch", "edm-cifar10-32"]) == 0
    finally:
        plain.close()


def test_no_redirect_leaves_https_while_no_hash_is_known(server: Publishers) -> None:
    plain = Publishers({"/x.npz": CIFAR}, tls=False)
    try:
        server.moved["/edm/fid-refs/cifar10-32x32.npz"] = f"http://{plain.host}/x.npz"
        with pytest.raises(WeightsError, match="is an http address and no hash of the file is known"):
            find_statistics("edm-cifar10-32")
        assert plain.requests == []
        assert not get_statistics("edm-cifar10-32").path.exists()
        server.moved["/edm/fid-refs/cifar10-32x32.npz"] = f"https://{server.host}/moved.npz"
        server.files["/moved.npz"] = CIFAR
        assert find_statistics("edm-cifar10-32").read_bytes() == CIFAR
    finally:
        plain.close()


def test_a_certificate_that_is_not_trusted_is_an_error(server: Publishers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(WeightsError, match=r"(?i)certificate"):
        find_statistics("edm-cifar10-32")
    assert server.requests == []
