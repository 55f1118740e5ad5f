"""Statistics on disk: ours and the peers', what is refused, merging, and ``stats:NAME``."""

from __future__ import annotations

import io
import json
import pickle
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.peers import needs_peer

from ganeval.download import sha256_of
from ganeval.engine import public_statistics as manifest_module
from ganeval.engine.public_statistics import (
    find_statistics,
    get_statistics,
    public_statistics,
    read_manifest,
    shipped_statistics,
)
from ganeval.engine.reference_files import is_statistics, load_reference
from ganeval.errors import InputError
from ganeval.files import reference_stats_dir
from ganeval.parsing.array_files import NpzReader
from ganeval.protocol import PROTOCOLS, get_protocol
from ganeval.statistics.moments import Moments
from ganeval.statistics.npz import with_suffix_npz, write_npz
from ganeval.statistics.reference import (
    Statistics,
    load_statistics,
    save_statistics,
)

D = 5


def features(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32) + 2.0


def built(x: np.ndarray, *, digests: np.ndarray | None = None, rows: bool = False, **meta: Any) -> Statistics:
    moments = Moments(D)
    moments.update(x)
    g = moments.finish()
    meta = {"protocol": get_protocol("compact").to_dict(), "source": {"spec": "real/"}, "warnings": [], **meta}
    return Statistics(g.mean, g.covariance, g.n, g.ddof, meta=meta, rows=x if rows else None, digests=digests)


@pytest.fixture
def stats() -> Statistics:
    return built(features(60), digests=np.arange(60, dtype=np.uint64) << np.uint64(50), rows=True)


# --- our own files -----------------------------------------------------------------------------------------------


def test_round_trip(stats: Statistics, tmp_path: Path) -> None:
    path = save_statistics(tmp_path / "Ref.npz", stats)
    again = load_statistics(path)
    np.testing.assert_array_equal(again.mean, stats.mean)
    np.testing.assert_allclose(again.covariance, stats.covariance, rtol=1e-15)
    np.testing.assert_array_equal(again.digests, stats.digests)
    np.testing.assert_array_equal(again.rows, stats.rows)
    assert (again.n, again.ddof, again.meta, again.source_path) == (60, 1, stats.meta, path)
    assert again.protocol == get_protocol("compact")
    assert (again.spec, again.digest) == (str(path), stats.digest)
    assert isinstance(again.rows, np.memmap)  # not read before it is needed
    gaussian = again.gaussian()
    assert (gaussian.n, gaussian.ddof) == (60, 1)


def test_equal_statistics_are_equal_bytes_and_carry_no_time(stats: Statistics, tmp_path: Path) -> None:
    a, b = save_statistics(tmp_path / "a.npz", stats), save_statistics(tmp_path / "b.npz", stats)
    assert a.read_bytes() == b.read_bytes()
    assert {info.date_time for info in zipfile.ZipFile(a).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_numpy_and_the_peers_read_it(stats: Statistics, tmp_path: Path) -> None:
    with np.load(save_statistics(tmp_path / "ref.npz", stats), allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["mu"][:], stats.mean)
        assert archive["sigma"].shape == (D, D)
        assert json.loads(str(archive["meta"]))["protocol"]["name"] == "compact"


@needs_peer("pytorch_fid")
def test_pytorch_fid_reads_it(stats: Statistics, tmp_path: Path) -> None:
    from pytorch_fid import fid_score as score

    path = save_statistics(tmp_path / "ref.npz", stats)
    mu, sigma = score.compute_statistics_of_path(str(path), None, 1, D, "cpu")
    np.testing.assert_array_equal(mu, stats.mean)
    np.testing.assert_array_equal(sigma, stats.covariance)


def test_suffix_is_appended_before_anything_else(stats: Statistics, tmp_path: Path) -> None:
    assert save_statistics(tmp_path / "Upper", stats).name == "Upper.npz"
    assert save_statistics(tmp_path / "dotted.v1", stats).name == "dotted.v1.npz"
    assert save_statistics(tmp_path / "REF.NPZ", stats).name == "REF.NPZ"
    before = (tmp_path / "Upper.npz").read_bytes()
    assert save_statistics(tmp_path / "Upper", stats).read_bytes() == before  # twice, and no Upper.npz.npz
    assert sorted(p.name for p in tmp_path.iterdir()) == ["REF.NPZ", "Upper.npz", "dotted.v1.npz"]
    assert with_suffix_npz(Path("x.npz")) == Path("x.npz")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(stats: Statistics, tmp_path: Path) -> None:
    path = save_statistics(tmp_path / "ref", stats)
    before = path.read_bytes()
    with pytest.raises(InputError, match="the provenance of .* is not plain JSON"):
        save_statistics(path, Statistics(stats.mean, stats.covariance, 60, 1, meta={"warnings": [object()]}))

    class Broken:
        def __array__(self, *_: object, **__: object) -> np.ndarray:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_npz(path, {"mu": stats.mean, "sigma": Broken()})  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="its folder does not exist"):
        save_statistics(tmp_path / "missing" / "ref", stats)


def test_digests_of_very_many_images_are_not_kept(
    stats: Statistics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganeval.statistics.reference.MAX_DIGESTS", 59)
    assert load_statistics(save_statistics(tmp_path / "ref", stats)).digests is None


# --- the peers' files --------------------------------------------------------------------------------------------


def test_plain_mu_and_sigma_are_of_unknown_protocol(tmp_path: Path, stats: Statistics) -> None:
    """pytorch-fid, TTUR, clean-fid, EDM; some in float32."""
    np.savez(tmp_path / "ref.npz", mu=stats.mean.astype(np.float32), sigma=stats.covariance.astype(np.float32))
    again = load_statistics(tmp_path / "ref.npz")
    assert (again.n, again.ddof, again.meta, again.protocol) == (None, None, None, None)
    assert again.covariance.dtype == np.float64
    assert again.gaussian().ddof == 1
    assert again.digest != stats.digest
    np.savez_compressed(tmp_path / "small.npz", mu=stats.mean, sigma=stats.covariance, n=60)
    assert load_statistics(tmp_path / "small.npz").n == 60


def test_adm_files_are_read_key_by_key(tmp_path: Path, stats: Statistics) -> None:
    """Neither the 10000 images nor the spatial moments are touched: here they are not even readable."""
    path = tmp_path / "VIRTUAL_x.npz"
    np.savez(path, mu=stats.mean, sigma=stats.covariance)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("arr_0.npy", b"no array")
        archive.writestr("mu_s.npy", pickle.dumps(object))
    assert is_statistics(path)
    np.testing.assert_array_equal(load_statistics(path).mean, stats.mean)


@pytest.mark.parametrize("name", ["feats", "reps", "real_feats"])
def test_files_of_features_give_moments_and_rows(tmp_path: Path, stats: Statistics, name: str) -> None:
    np.savez(tmp_path / "kid.npz", **{name: features(60)})
    again = load_statistics(tmp_path / "kid.npz")
    np.testing.assert_allclose(again.mean, stats.mean, rtol=1e-14)
    np.testing.assert_allclose(again.covariance, stats.covariance, rtol=1e-10)
    assert (again.n, again.ddof, again.protocol) == (60, 1, None)
    np.testing.assert_array_equal(again.rows, features(60))


def test_dgm_eval_files_are_read_without_their_pickled_member(tmp_path: Path) -> None:
    np.savez(tmp_path / "reps.npz", reps=features(60).astype(np.float64), hparams=np.array({"a": 1}, dtype=object))
    assert load_statistics(tmp_path / "reps.npz").n == 60


# --- what is refused ---------------------------------------------------------------------------------------------


def bad_file(name: str, folder: Path) -> Path:
    path, eye = folder / "ref.npz", np.eye(D)
    mu = np.zeros(D)
    nan, lopsided, negative = eye.copy(), eye.copy(), eye.copy()
    nan[1, 2] = np.nan
    lopsided[0, 1] = 0.3
    negative[0, 0] = -0.1
    members: dict[str, dict[str, Any]] = {
        "pickled objects": {"mu": np.array([{}], dtype=object), "sigma": eye},
        "pickled covariance": {"mu": mu, "sigma": np.array([[{}]], dtype=object)},
        "NaN in sigma": {"mu": mu, "sigma": nan},
        "NaN in mu": {"mu": nan[1], "sigma": eye},
        "mu beyond all distances": {"mu": mu + 1e200, "sigma": eye},
        "sigma beyond all distances": {"mu": mu, "sigma": eye * 1e300},
        "n beyond all sets": {"mu": mu, "sigma": eye, "n": 2**62},
        "shape mismatch": {"mu": np.zeros(D + 1), "sigma": eye},
        "mu and sigma swapped": {"mu": eye, "sigma": mu},
        "empty mu": {"mu": np.zeros(0), "sigma": np.zeros((0, 0))},
        "integers": {"mu": np.zeros(D, dtype=int), "sigma": eye},
        "not symmetric": {"mu": mu, "sigma": lopsided},
        "negative eigenvalue": {"mu": mu, "sigma": negative},
        "n of one": {"mu": mu, "sigma": eye, "n": 1},
        "n of 1.5": {"mu": mu, "sigma": eye, "n": 1.5},
        "ddof of two": {"mu": mu, "sigma": eye, "ddof": 2},
        "broken provenance": {"mu": mu, "sigma": eye, "meta": np.array("{")},
        "incomplete protocol": {"mu": mu, "sigma": eye, "meta": np.array('{"protocol": {"name": "x"}}')},
        "foreign rows": {"mu": mu, "sigma": eye, "n": 4, "meta": np.array("{}"), "features": np.zeros((3, D))},
        "images": {"arr_0": np.zeros((2, 4, 4, 3), np.uint8)},
        "only mu": {"mu": mu},
        "one row of features": {"feats": features(1)},
        "NaN in features": {"feats": np.full((4, D), np.nan)},
        "flat features": {"reps": np.zeros(7)},
    }
    if name in members:
        np.savez(path, **members[name])
        return path
    np.savez(path, mu=mu, sigma=eye)
    if name == "missing":
        return folder / "nothing.npz"
    if name == "folder":
        return folder
    if name == "text":
        path.write_text("mu, sigma")
    if name == "empty":
        path.write_bytes(b"")
    if name == "cut short":
        path.write_bytes(path.read_bytes()[:-40])
    if name == "flipped bits":
        raw = bytearray(path.read_bytes())
        raw[raw.index(b"sigma.npy") + 200] ^= 255
        path.write_bytes(raw)
    if name == "header that lies":
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (50000, 50000)})
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("mu.npy", stream.getvalue().replace(b"50000, 50000", b"50000,      "))
            archive.writestr("sigma.npy", stream.getvalue())
    if name.startswith("pickle as"):
        path = folder / f"ref.{name.split()[-1]}"
        path.write_bytes(pickle.dumps({"mu": mu, "sigma": eye}))
    if name == "torch archive as npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("stats/data.pkl", pickle.dumps({}))
    return path


REFUSED = {
    "pickled objects": "the member 'mu' of .* holds pickled Python objects, which are never loaded",
    "pickled covariance": "the member 'sigma' of .* holds pickled Python objects",
    "NaN in sigma": "sigma has NaN or infinite entries",
    "mu beyond all distances": "mu has entries beyond 1e20",
    "sigma beyond all distances": "sigma has entries beyond 1e40",
    "n beyond all sets": "n must be a whole number from 2 to 2.53",
    "NaN in mu": "the mean of the features has NaN",
    "shape mismatch": r"mu must be d numbers and sigma d x d; they have shapes \(6,\) and \(5, 5\)",
    "mu and sigma swapped": r"they have shapes \(5, 5\) and \(5,\)",
    "empty mu": r"they have shapes \(0,\) and \(0, 0\)",
    "integers": "mu and sigma must be floats; they are int",
    "not symmetric": "sigma is not symmetric",
    "negative eigenvalue": r"sigma has the eigenvalue -0\.1, below zero",
    "n of one": "n must be a whole number from 2 to 2.53; it is 1",
    "n of 1.5": r"n must be a whole number from 2 to 2.53; it is 1\.5",
    "ddof of two": "ddof 0 or 1; got ddof=2",
    "broken provenance": "its provenance cannot be read",
    "incomplete protocol": "meta: protocol: the key 'extractor' is missing",
    "foreign rows": r"features of shape \(3, 5\) do not belong to 4 images",
    "images": r"holds no statistics: .* has arr_0\. It holds images",
    "only mu": "needs the members mu and sigma, and has mu",
    "one row of features": "at least 2 feature rows; got 1",
    "NaN in features": "feature row 0 has NaN",
    "flat features": r"reps must be \(n, d\) floats; it has shape \(7,\)",
    "missing": r"there is no file .*nothing\.npz",
    "folder": "cannot read",
    "text": r"\(9 bytes\) is not a readable npz file",
    "empty": r"\(0 bytes\) is not a readable npz file, or it was cut short",
    "cut short": "is not a readable npz file, or it was cut short",
    "flipped bits": "the member 'sigma' of .* cannot be read .*: the file is damaged",
    "header that lies": "the member 'mu' of .* is not a readable npy array .its header declares the shape",
    "pickle as npz": r"is a pickle: reading it would run whatever code it holds.*numpy\.savez\(\"ref\.npz\", mu=",
    "pickle as pkl": "is a pickle",
    "pickle as pt": "is a pickle",
    "torch archive as npz": "is a pickle",
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_bad_file_is_one_clear_error_iv(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=REFUSED[name]):
        load_statistics(bad_file(name, tmp_path))


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    names = ("pickled objects", "pickle as npz", "pickle as pkl", "torch archive as npz")
    folders = {name: tmp_path / name for name in names}
    for folder in folders.values():
        folder.mkdir()
    files = {name: bad_file(name, folder) for name, folder in folders.items()}
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    for name, path in files.items():
        with pytest.raises(InputError, match=REFUSED[name]):
            load_statistics(path)


# --- which specs are statistics ----------------------------------------------------------------------------------


def test_is_statistics(tmp_path: Path, stats: Statistics) -> None:
    path = save_statistics(tmp_path / "ref", stats)
    for yes in (stats, "stats:anything", path, str(path), bad_file("pickle as pkl", tmp_path)):
        assert is_statistics(yes), yes
    images = tmp_path / "images.npz"
    np.savez(images, arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    for no in (images, tmp_path, tmp_path / "missing.npz", "gen:x", [1, 2], np.zeros(3), bad_file("text", tmp_path)):
        assert not is_statistics(no), no
    assert load_reference(stats) is stats
    assert load_reference(save_statistics(tmp_path / "ref", stats)).n == 60


# --- stats:NAME --------------------------------------------------------------------------------------------------


def test_manifest_entries_are_sound() -> None:
    entries = public_statistics()
    document = tomllib.loads((reference_stats_dir() / "manifest.toml").read_text(encoding="utf-8"))
    assert len(entries) == sum(len(source["files"]) for source in document["source"])  # no name twice
    assert not set(entries) & set(shipped_statistics())
    for entry in entries.values():
        assert entry.url is not None
        assert entry.url.startswith(("https://", "http://bioinf.jku.at/"))
        assert entry.dataset
        assert entry.url.endswith(".npz")
        assert entry.protocol in PROTOCOLS
        assert entry.n is None or entry.n > 1
        assert entry.sha256 is None or len(entry.sha256) == 64
        assert entry.licence
        assert entry.note
    assert {e.weights for e in entries.values()} == {document["weights"]}
    last = entries["clean-fid-cifar10-train-32-pytorch-fid"].url
    assert last is not None
    assert last.endswith("/cifar10_legacy_pytorch_train_32.npz")


def test_the_manifest_describes_what_ships() -> None:
    assert [f"{name}.npz" for name in sorted(shipped_statistics())] == sorted(
        path.name for path in reference_stats_dir().glob("*.npz")
    )
    for name, entry in shipped_statistics().items():
        stats = load_reference(f"stats:{name}")
        assert stats.protocol is not None
        assert (entry.n, entry.protocol, entry.sha256) == (stats.n, stats.protocol.name, sha256_of(entry.path))
        assert get_statistics(name) == entry


def test_manifest_weights_are_the_published_ones() -> None:
    from ganeval.features.networks import published_sha256

    assert public_statistics()["edm-cifar10-32"].weights == published_sha256("inception-2015-12-05")


def test_public_statistics_know_their_protocol(
    tmp_path: Path, stats: Statistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fetched(url: str, target: Path, **details: Any) -> Path:
        calls.append((url, target, details))
        target.parent.mkdir(parents=True)
        np.savez(target, mu=stats.mean, sigma=stats.covariance)
        return target

    monkeypatch.setattr(manifest_module, "fetch", fetched)
    monkeypatch.setattr(manifest_module.platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    public = load_reference("stats:edm-cifar10-32")
    ((url, target, details),) = calls
    assert url == "https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/cifar10-32x32.npz"
    assert target == tmp_path / "cache" / "reference_stats" / "edm-cifar10-32.npz"
    assert details["licence"].startswith("CC BY-NC-SA")
    assert (public.spec, public.n, public.ddof) == ("stats:edm-cifar10-32", 50000, 1)
    assert public.protocol is not None
    assert (public.protocol.name, public.protocol.verified) == ("ttur", True)
    assert public.protocol.label() == "FID"


def test_shipped_statistics_need_no_network(tmp_path: Path, stats: Statistics, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.toml").write_bytes((reference_stats_dir() / "manifest.toml").read_bytes())
    path = save_statistics(tmp_path / "cifar10-test", stats)
    monkeypatch.setattr(manifest_module, "reference_stats_dir", lambda: tmp_path)
    assert find_statistics("cifar10-test") == path
    assert load_reference("stats:cifar10-test").spec == "stats:cifar10-test"
    with pytest.raises(InputError, match=r"Unknown statistics 'cifar10-tets'\. Did you mean stats:cifar10-test\?"):
        find_statistics("cifar10-tets")


def test_a_damaged_manifest_and_installation_iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ganeval.files

    monkeypatch.setattr(manifest_module, "reference_stats_dir", lambda: tmp_path)
    (tmp_path / "manifest.toml").write_text("[[source]]\nfiles = [{name = 'x', dataset = 'y'}]\n")
    read_manifest.cache_clear()
    try:
        with pytest.raises(InputError, match=r"manifest\.toml is not a valid .*: the key 'file' is missing"):
            public_statistics()
    finally:
        read_manifest.cache_clear()
    monkeypatch.setattr(ganeval.files, "__file__", str(tmp_path / "a" / "resources.py"))
    (tmp_path / "manifest.toml").unlink()
    with pytest.raises(InputError, match="the installation is damaged"):
        ganeval.files.reference_stats_dir()


def test_resources_prefer_the_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ganeval.files

    inside = tmp_path / "site" / "ganeval" / "reference_stats"
    inside.mkdir(parents=True)
    (inside / "manifest.toml").touch()
    monkeypatch.setattr(ganeval.files, "__file__", str(inside.parent / "resources.py"))
    assert ganeval.files.reference_stats_dir() == inside.resolve()


def test_compressed_rows_are_read_and_stored_ones_are_mapped(tmp_path: Path) -> None:
    x = features(20)
    np.savez_compressed(tmp_path / "a.npz", x=x)
    np.savez(tmp_path / "b.npz", pad=np.zeros(3), x=x, f=np.asfortranarray(x))
    with NpzReader(tmp_path / "a.npz") as a, NpzReader(tmp_path / "b.npz") as b:
        np.testing.assert_array_equal(a.map_rows("x"), x)
        mapped = b.map_rows("x")
        assert isinstance(mapped, np.memmap)
        np.testing.assert_array_equal(mapped, x)
        np.testing.assert_array_equal(b.map_rows("f"), x)
        assert b.header("x").shape == (20, D)
        with pytest.raises(InputError, match="the member 'nothing' of .* cannot be read"):
            b.read("nothing")
