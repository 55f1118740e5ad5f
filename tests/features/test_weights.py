"""Where weights are looked for, what is accepted, and what the messages say."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ganeval.cli.main import main
from ganeval.errors import WeightsError
from ganeval.features import weights as module
from ganeval.features.published import INCEPTION, SPECS
from ganeval.features.types import WeightSpec
from ganeval.features.weights import (
    get_spec,
    hub_folder,
    import_file,
    list_weights,
    load_state_dict,
    locate,
    verify,
)

RIGHT = b"the right weights"
WRONG = b"other weights"
SHA256 = hashlib.sha256(RIGHT).hexdigest()
SPEC = dataclasses.replace(INCEPTION, sha256=SHA256, bytes=len(RIGHT))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch home, no network, and the table with a small file's hash; returns the hub folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("GANEVAL_OFFLINE", "1")
    monkeypatch.delenv("GANEVAL_WEIGHTS_DIR", raising=False)
    monkeypatch.setattr(module, "SPECS", {SPEC.name: SPEC})
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_the_table_is_complete() -> None:
    for name, spec in SPECS.items():
        assert spec.name == name
        if spec.package is None:
            assert spec.url.startswith("https://")
            assert spec.url.endswith(spec.filename)
        assert spec.sha256 is None or len(spec.sha256) == 64
        assert spec.licence
    assert INCEPTION.sha256 is not None
    assert INCEPTION.sha256[:8] in INCEPTION.filename  # torch.hub's convention


@pytest.mark.parametrize(
    "variables", [{}, {"TORCH_HOME": "/somewhere"}, {"XDG_CACHE_HOME": "/cache"}, {"TORCH_HOME": "~/t"}]
)
def test_hub_folder_against_torch(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    expected = Path(torch.hub.get_dir()) / "checkpoints"
    assert hub_folder() == expected
    monkeypatch.delitem(sys.modules, "torch.hub")  # as it is before torch was imported
    assert hub_folder() == expected


def test_hub_folder_follows_set_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "mine"))
    assert hub_folder() == tmp_path / "mine" / "checkpoints"


def test_importing_the_module_loads_no_torch() -> None:
    code = "import sys, ganeval.features.weights as w; w.list_weights(); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_order_of_places(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    monkeypatch.setenv("GANEVAL_WEIGHTS_DIR", str(directory))
    (home / SPEC.filename).write_bytes(RIGHT)
    assert locate(SPEC).path == home / SPEC.filename
    (directory / SPEC.filename).write_bytes(RIGHT)
    located = locate(SPEC)
    assert located.path == directory / SPEC.filename
    assert (located.sha256, located.verified) == (SHA256, True)
    mine = tmp_path / "mine.pth"
    mine.write_bytes(RIGHT)
    located = locate(SPEC, mine)
    assert (located.path, located.verified) == (mine, True)


def test_the_same_file_under_torch_fidelitys_name_is_found(home: Path) -> None:
    (home / "weights-inception-2015-12-05-6726825d.pth").write_bytes(RIGHT)
    assert locate(SPEC).path.name == "weights-inception-2015-12-05-6726825d.pth"


def test_an_explicit_path_may_be_unverified(tmp_path: Path) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(WRONG)
    located = locate(SPEC, str(mine))
    assert located.verified is False
    assert located.sha256 == hashlib.sha256(WRONG).hexdigest()
    with pytest.raises(WeightsError, match=r"absent\.pth does not exist"):
        locate(SPEC, tmp_path / "absent.pth")
    with pytest.raises(WeightsError, match="is a folder"):
        locate(SPEC, tmp_path)


@pytest.mark.parametrize("place", ["hub", "dir"])
def test_a_wrong_file_found_by_name_is_an_error(place: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if place == "dir":
        (home / SPEC.filename).write_bytes(RIGHT)  # does not help: the folder that the user named comes first
        home = home.parent / "shared"
        home.mkdir()
        monkeypatch.setenv("GANEVAL_WEIGHTS_DIR", str(home))
    file = home / SPEC.filename
    file.write_bytes(WRONG)
    with pytest.raises(WeightsError) as caught:
        locate(SPEC)
    for part in (str(file), hashlib.sha256(WRONG).hexdigest(), SHA256, "weights fetch", "--weights"):
        assert part in str(caught.value)
    assert file.read_bytes() == WRONG


def test_missing_weights_offline(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError) as caught:
        locate(SPEC)
    for part in ("GANEVAL_OFFLINE", SPEC.url, str(home / SPEC.filename), SHA256, "--weights"):
        assert part in str(caught.value)
    assert "--protocol compact (protocol='compact') works right now" in str(caught.value)
    monkeypatch.setenv("GANEVAL_WEIGHTS_DIR", "/empty/folder")
    with pytest.raises(WeightsError, match="nor in GANEVAL_WEIGHTS_DIR=/empty/folder"):
        locate(SPEC)


def test_missing_weights_without_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANEVAL_OFFLINE")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    unreachable = dataclasses.replace(SPEC, url="http://127.0.0.1:9/w.pth")
    with pytest.raises(WeightsError) as caught:
        locate(unreachable)
    for part in ("refused", unreachable.url, str(home / SPEC.filename), SHA256, "works right now"):
        assert part in str(caught.value)
    assert os.listdir(home) == []


def test_locate_downloads_into_the_hub_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANEVAL_OFFLINE")
    asked: list[tuple[object, ...]] = []

    def fake_fetch(url: str, target: Path, **settings: object) -> Path:
        asked.append((url, settings["sha256"], settings["bytes"], settings["licence"], settings["notify"]))
        target.write_bytes(RIGHT)
        return target

    monkeypatch.setattr(module, "fetch", fake_fetch)
    located = locate(SPEC, notify=print)
    assert located == module.LocatedWeights(home / SPEC.filename, SHA256, True)
    assert asked == [(SPEC.url, SHA256, len(RIGHT), "Apache-2.0", print)]
    assert locate(SPEC).path.parent == hub_folder()
    assert len(asked) == 1


def test_list_and_verify(home: Path) -> None:
    (row,) = list_weights()
    assert (row.present, row.verified, row.path) == (False, False, home / SPEC.filename)
    with pytest.raises(WeightsError, match="not on this machine: they were not fetched yet"):
        verify(SPEC)
    (home / SPEC.filename).write_bytes(WRONG)
    (row,) = list_weights()
    assert (row.present, row.verified) == (True, False)
    with pytest.raises(WeightsError, match="another file, or damaged"):
        verify(SPEC)
    (home / SPEC.filename).write_bytes(RIGHT)
    (row,) = list_weights()
    assert (row.present, row.verified) == (True, True)
    assert verify(SPEC).verified


@pytest.mark.parametrize("spec", [None, SPEC])
def test_import_file(spec: WeightSpec | None, home: Path, tmp_path: Path) -> None:
    (home / SPEC.filename).write_bytes(WRONG)
    file = tmp_path / "from-a-usb-stick"
    file.write_bytes(RIGHT[:-1])
    with pytest.raises(WeightsError, match=r"is not one of the files|Nothing was copied"):
        import_file(file, spec)
    assert (home / SPEC.filename).read_bytes() == WRONG
    file.write_bytes(RIGHT)
    assert import_file(file, spec).path == home / SPEC.filename
    assert (home / SPEC.filename).read_bytes() == RIGHT
    assert os.listdir(home) == [SPEC.filename]
    with pytest.raises(WeightsError, match="There is no file"):
        import_file(tmp_path / "absent", spec)


def test_get_spec() -> None:
    assert get_spec("inception") is SPEC
    assert get_spec("inception-2015-12-05") is SPEC
    for wrong in ("", "incpetion-2015-12-05", "vgg"):
        with pytest.raises(WeightsError, match="Unknown weights"):
            get_spec(wrong)
    with pytest.raises(WeightsError, match="Did you mean inception-2015-12-05"):
        get_spec("incpetion-2015-12-05")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_load_state_dict(form: str, tmp_path: Path) -> None:
    content = {"a.weight": torch.randn(3, 2), "a.bias": torch.arange(3)}
    if form == "safetensors":
        file = tmp_path / "w.safetensors"
        save_file(content, file)
    else:
        file = tmp_path / "w.pth"
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    loaded = load_state_dict(file)
    assert loaded.keys() == content.keys()
    assert all(torch.equal(loaded[name], content[name]) for name in content)


class Code:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("legacy", [True, False])
def test_pickled_code_never_runs(legacy: bool, tmp_path: Path) -> None:
    file, trace = tmp_path / "w.pth", tmp_path / "trace"
    torch.save({"a": torch.zeros(1), "b": Code(trace)}, file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match="reading it would run code from it"):
        load_state_dict(file)
    assert not trace.exists()


def test_load_state_dict_iv(tmp_path: Path) -> None:
    good = tmp_path / "good.pth"
    torch.save({"a": torch.zeros(100)}, good)
    cases = {
        "truncated.pth": (good.read_bytes()[:-300], "Cannot read weights|or it is damaged"),
        "text.pth": (b"not found\n" * 20, "Cannot read weights from .*: torch.save did not write it"),
        "empty.pth": (b"", "Cannot read weights from .*: torch.save did not write it"),
        "text.safetensors": (b"not found\n" * 20, "Cannot read weights"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=message) as caught:
            load_state_dict(tmp_path / name)
        assert name in str(caught.value)
        assert len(str(caught.value)) < 500
    tensor = {"a": torch.zeros(1)}
    for name, thing in {"list.pth": [tensor["a"]], "nested.pth": {"state_dict": tensor}, "no.pth": {}}.items():
        torch.save(thing, tmp_path / name)
        with pytest.raises(WeightsError, match=r"holds a .*; expected a dictionary of tensors"):
            load_state_dict(tmp_path / name)


def test_torchscript_archives_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Linear(2, 2).eval(), torch.zeros(1, 2)).save(str(file))
    with pytest.raises(WeightsError, match=r"script\.pt is not a plain file of weights: reading it would run code"):
        load_state_dict(file)


def test_the_command_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0
    assert "not fetched" in capsys.readouterr().out
    assert main(["weights", "fetch", "inception"]) == 2
    assert "GANEVAL_OFFLINE" in capsys.readouterr().err
    assert main(["weights", "verify"]) == 0
    assert "nothing to verify" in capsys.readouterr().err
    assert main(["weights", "verify", "inception", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "weights"
    file = tmp_path / "stick.pth"
    file.write_bytes(WRONG)
    assert main(["weights", "import", str(file), "--name", "inception"]) == 2
    file.write_bytes(RIGHT)
    assert main(["weights", "import", str(file)]) == 0
    assert "verified" in capsys.readouterr().out
    assert main(["weights", "verify", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["weights"]
    assert row == {"name": SPEC.name, "path": str(home / SPEC.filename), "sha256": SHA256, "verified": True}
    assert main(["weights", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"][0]["verified"] is True
    assert main(["weights", "fetch", "inception"]) == 0
    assert main(["weights", "fetch"]) == 2
    assert main(["weights", "fetch", "nothing"]) == 2


def test_an_archive_takes_weights_to_a_machine_without_network(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "weights.tar"
    assert main(["weights", "export", str(archive)]) == 2
    assert "nothing to export" in capsys.readouterr().err
    assert not archive.exists()
    (home / SPEC.filename).write_bytes(WRONG)
    assert main(["weights", "export", str(archive), "inception"]) == 2  # a wrong file is not passed on
    (home / SPEC.filename).write_bytes(RIGHT)
    assert main(["weights", "export", str(archive), "--json"]) == 0
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "other"))
    assert main(["weights", "import", str(archive)]) == 0
    assert "verified" in capsys.readouterr().out
    there = tmp_path / "other" / "hub" / "checkpoints"
    assert os.listdir(there) == [SPEC.filename]
    assert (there / SPEC.filename).read_bytes() == RIGHT


@pytest.mark.parametrize("name", ["../../evil.pth", "other.pth", SPEC.filename])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE])
def test_an_archive_of_something_else(
    name: str, kind: bytes, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "weights.tar"
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    member.size = len(WRONG) if kind == tarfile.REGTYPE else 0
    with tarfile.open(archive, "w") as tar:
        tar.addfile(member, io.BytesIO(WRONG))
    assert main(["weights", "import", str(archive)]) == 2
    error = capsys.readouterr().err
    assert "which ganeval does not know" in error or "Nothing was copied" in error
    assert os.listdir(home) == []
    archive.write_bytes(archive.read_bytes()[:300])
    assert main(["weights", "import", str(archive)]) == 2


def test_an_archive_that_was_cut(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "weights.tar"
    (home / SPEC.filename).write_bytes(RIGHT)
    assert main(["weights", "export", str(archive)]) == 0
    (home / SPEC.filename).unlink()
    archive.write_bytes(archive.read_bytes()[: 512 + len(RIGHT) - 3])
    assert main(["weights", "import", str(archive)]) == 2
    assert capsys.readouterr().err.count("error:") == 1
    assert os.listdir(home) == []
