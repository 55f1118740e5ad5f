"""Specs: text to values, where text and where a file decides, and what a document may open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeval.errors import InputError
from ganeval.images import specs
from ganeval.images.grammar import as_spec, parse_spec
from ganeval.images.open import open_images
from ganeval.images.spec_files import files_of
from ganeval.images.specs import (
    Archive,
    ArrayFile,
    Folder,
    GeneratorFile,
    HDF5File,
    ImportedGenerator,
    Invalid,
    Missing,
    NamedStatistics,
    OtherFile,
    Rendered,
    ScriptFile,
    Shards,
    ShippedGenerator,
    TableFile,
    TorchvisionDataset,
    Translation,
    closed_to_documents,
    public_text,
)

DCGAN = "gen:dcgan-cifar10"
TO_STRIPES = "gen:cyclegan-plain2striped"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a folder", "run", "x.zip.d", "run (2)"):
        (tmp_path / name).mkdir()
    for name in (
        "a.zip", "A.TAR", "a.tgz", "a.tar.gz", "a.npz", "a.NPY", "b.npz:images", "ref.pkl",
        "a.parquet", "a.ARROW", "a.hdf5", "s-{0..1}.tar", "x.pt",
        "dcgan-cifar10", "dcgan-cifar10(x).pt", "%67en%3Ax.zip", "g.safetensors", "g.json", "code", "GEN:x.npz",
        "m(dataset:shapes)", "cyclegan-plain2striped(dataset:shapes)",
    ):  # fmt: skip
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        ("a folder", Folder, {"path": Path("a folder")}),
        ("run/", Folder, {"path": Path("run")}),
        ("~", Folder, {"path": Path.home()}),
        ("x.zip.d", Folder, {}),
        ("a.zip", Archive, {"form": "zip"}),
        ("A.TAR", Archive, {"form": "tar"}),
        ("a.tgz", Archive, {"form": "tar"}),
        ("a.tar.gz", Archive, {"form": "tar"}),
        ("./a.npz", ArrayFile, {"form": "npz", "part": None}),
        ("a.NPY", ArrayFile, {"form": "npy"}),
        ("a.npz:images", ArrayFile, {"form": "npz", "part": "images", "path": Path("a.npz")}),
        ("a.npz:STATISTICS", ArrayFile, {"form": "npz", "part": "statistics"}),
        ("b.npz:images", Missing, {"path": Path("b.npz")}),  # a part is read from the text, whatever files there are
        ("s-{0..9}.tar", Shards, {}),
        ("s-{0..1}.tar", Archive, {}),  # a file of this very name
        ("a.parquet", TableFile, {"form": "parquet"}),
        ("a.ARROW", TableFile, {"form": "arrow"}),
        ("a.hdf5", HDF5File, {}),
        ("ref.pkl", OtherFile, {}),
        ("x.pt", OtherFile, {}),
        ("nowhere/", Missing, {}),
        ("nowhere.zip", Missing, {}),
        (" a.zip", Missing, {}),
        ("GEN:x.npz", ArrayFile, {}),
        ("Gen:dcgan-cifar10", Missing, {}),
        (" gen:dcgan-cifar10", Missing, {}),
        ("%67en%3Ax.zip", Archive, {}),
        ("gen\uff1adcgan-cifar10", Missing, {}),
        ("stats:cifar10-test", NamedStatistics, {"name": "cifar10-test", "part": None}),
        ("stats:x:images", NamedStatistics, {"name": "x", "part": "images"}),
        ("stats:x:statistics", NamedStatistics, {"name": "x", "part": "statistics"}),
        ("stats:x:other", NamedStatistics, {"name": "x:other", "part": None}),
        ("dataset:shapes", Rendered, {"variant": "mixed", "size": 32, "seed": None}),
        ("dataset:shapes-striped:64@3", Rendered, {"variant": "striped", "size": 64, "seed": 3}),
        ("dataset:shapes:\u0666\u0664", Invalid, {}),
        ("dataset:CIFAR10:test", TorchvisionDataset, {"name": "cifar10", "split": "test"}),
        ("dataset:cifar10", Invalid, {}),
        ("dataset::test", Invalid, {}),
        (DCGAN, ShippedGenerator, {"name": "dcgan-cifar10"}),  # also beside a file of this name
        ("gen:./dcgan-cifar10", ScriptFile, {"path": Path("dcgan-cifar10")}),
        ("gen:DCGAN-cifar10", Invalid, {}),
        ("gen: dcgan-cifar10", Invalid, {}),
        ("gen:dcgan-cifar10 ", Invalid, {}),
        ("gen:dcgan-cifar10\u200b", Invalid, {}),
        ("gen:dcg\u0430n-cifar10", Invalid, {}),
        ("gen:dcgan%2Dcifar10", Invalid, {}),
        ("gen:dcgan-cifar10(x).pt", ScriptFile, {}),
        ("gen:dcgan-cifar10(y).pt", ScriptFile, {}),  # there is no such file: opening it says so
        ("gen:x.pt", ScriptFile, {}),
        ("gen:code", ScriptFile, {}),
        ("gen:nowhere.safetensors", GeneratorFile, {}),
        ("gen:g.safetensors", GeneratorFile, {}),
        ("gen:g.json", GeneratorFile, {}),
        ("gen:run", GeneratorFile, {}),
        ("gen:run (2)", GeneratorFile, {"path": Path("run (2)")}),
        ("gen:a.b:c.d", ImportedGenerator, {"module": "a.b", "name": "c.d"}),
        ("gen:a:b:c", Invalid, {}),
        ("gen:", Invalid, {}),
        (f"{TO_STRIPES}()", Invalid, {}),
        (f"{TO_STRIPES})", Invalid, {}),
        ("gen:(a folder)", Invalid, {}),
        ("gen:a(b)(c)", Invalid, {}),
        ("gen:m(dataset:shapes)", ScriptFile, {}),  # a file of the whole name
        (f"{TO_STRIPES}(dataset:shapes)", Translation, {}),  # a shipped name comes before such a file
        ("", Invalid, {}),
        (" ", Invalid, {}),
        ("a\0b", Invalid, {}),
        ("gen:dcgan-cifar10\0.pt", Invalid, {}),
        ("/dev/zero", Invalid, {}),
        ("gen:/dev/zero", Invalid, {}),
        ("x" * 5000, Missing, {}),
        ("\udc80", Missing, {}),
        ("\ud800.zip", Missing, {}),
        ("gen:m(" * 500 + "a.zip" + ")" * 500, Invalid, {}),
        ("dataset:shapes@" + "9" * 5000, Invalid, {}),
    ],
)
def test_kinds(text: str, kind: type, fields: dict[str, object], here: Path) -> None:
    found = parse_spec(text)
    assert type(found) is kind
    assert str(found) == found.text == text
    for name, value in fields.items():
        assert getattr(found, name) == value
    assert as_spec(found) is found


def test_translations_say_what_is_within(here: Path) -> None:
    text = f"gen:run(gen:x.pt({TO_STRIPES}(s-{{0..9}}.tar)))"
    outer = parse_spec(text)
    assert isinstance(outer, Translation)
    assert outer.model == GeneratorFile("gen:run", Path("run"))
    middle = outer.source
    assert isinstance(middle, Translation)
    assert middle.model == ScriptFile("gen:x.pt", Path("x.pt"))
    assert middle.source == Translation(
        f"{TO_STRIPES}(s-{{0..9}}.tar)",
        ShippedGenerator(TO_STRIPES, "cyclegan-plain2striped"),
        Shards("s-{0..9}.tar", "s-{0..9}.tar"),
    )
    forged = parse_spec(f"{TO_STRIPES}(gen:dcgan-cifar10(x).pt)")
    assert isinstance(forged, Translation)
    assert isinstance(forged.source, ScriptFile)
    assert isinstance(parse_spec("gen:no.module:f(gen:nothing)"), Invalid)


def test_a_path_is_a_path(here: Path) -> None:
    assert as_spec(Path("gen:dcgan-cifar10")) == Missing("gen:dcgan-cifar10", Path("gen:dcgan-cifar10"))
    assert isinstance(as_spec(Path("a folder")), Folder)
    assert as_spec(3) is None
    with pytest.raises(InputError, match="No such file or folder: 'GEN: dcgan-cifar10'.*lower case.*gen:dcgan-cifar"):
        open_images("GEN: dcgan-cifar10")


@pytest.mark.parametrize("name", ["pipe.zip", "pipe.tar.gz", "pipe.npy", "pipe.npz", "pipe.pt", "zero.tar"])
def test_pipes_and_devices_are_not_waited_for(name: str, here: Path) -> None:
    if name.startswith("pipe"):
        os.mkfifo(name)
    else:
        Path(name).symlink_to("/dev/zero")
    for text in (name, f"gen:{name}", f"{TO_STRIPES}({name})"):
        found = parse_spec(text)
        assert isinstance(found, Invalid)
        assert "is a pipe, a socket or a device" in found.problem
        with pytest.raises(InputError, match="is a pipe, a socket or a device"):
            open_images(found)


def test_what_a_document_may_open(here: Path) -> None:
    for text in (
        "a folder", "a.zip", "A.TAR", "a.npz", "a.npz:images", "a.NPY", "a.parquet", "a.ARROW", "s-{0..9}.tar",
        "dataset:shapes:8@1", DCGAN,
        "gen:g.safetensors", "gen:g.json", "gen:run", "dataset:cifar10:test", f"{TO_STRIPES}(a folder)",
        f"gen:run({TO_STRIPES}({DCGAN}))",
    ):  # fmt: skip
        assert closed_to_documents(parse_spec(text)) is None, text
    for text in (
        "a.hdf5", "hf:a folder", "memory://a.zip", "s3://b/c/",
        "gen:x.pt", "gen:code", "gen:./dcgan-cifar10", "gen:dcgan-cifar10(x).pt", "gen:json:loads",
        "stats:cifar10-test", "dataset:mnist:test", "dataset:lsun:test", "/", "/proc/self", "/sys",
        f"{TO_STRIPES}(gen:x.pt)",
        "gen:x.pt(a folder)", f"gen:run({TO_STRIPES}(gen:json:loads))", "gen:json:loads(a folder)", "gen:/",
        f"{TO_STRIPES}(dataset:mnist:test)", f"{TO_STRIPES}(/)",
    ):  # fmt: skip
        assert closed_to_documents(parse_spec(text)), text


def test_every_name_in_braces_is_looked_at(tmp_path: Path) -> None:
    for link, target in {"k": "/proc/version", "s-1": "/sys", "ok": str(tmp_path / "x.tar")}.items():
        (tmp_path / f"{link}.tar").symlink_to(target)
    for names in ("{k,k}", "{ok,k}", "s-{0..1}", "{nothing,s}-{1..1}"):
        assert "a folder of the system" in str(closed_to_documents(parse_spec(f"{tmp_path}/{names}.tar"))), names
    assert closed_to_documents(parse_spec(f"{tmp_path}/{{ok,ok}}.tar")) is None


def test_every_kind_is_closed_unless_it_is_listed() -> None:
    kinds = {k for k in vars(specs).values() if isinstance(k, type) and issubclass(k, specs.Spec)} - {specs.Spec}
    assert len(kinds) == 19

    class New(specs.Spec):
        """A kind that somebody adds later."""

    assert closed_to_documents(New("new:x"))


def test_files_that_a_spec_names(here: Path) -> None:
    text = f"gen:g.json({TO_STRIPES}(gen:x.pt(a.npz:images)))"
    assert set(files_of(text, "a.zip", None, 3)) == {
        *map(Path, ("g.json", "g.safetensors", "x.pt", "a.npz", "a.zip"))
    }  # fmt: skip
    assert Path("s-1.tar") in set(files_of("s-{0..3}.tar"))


def test_public_text_names_no_folder_of_this_machine(here: Path) -> None:
    assert public_text(parse_spec(f"gen:{here}/x.pt({here}/a.npz:images)")) == "gen:x.pt(a.npz:images)"
    assert public_text(parse_spec(str(here / "run"))) == "run"
    assert public_text(parse_spec(DCGAN)) == DCGAN


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (r"C:\images\cats", Missing),
        ("C:/images/cats.zip", Missing),
        (r"C:\sets\{000..001}.tar", Shards),
        (r"gen:C:\models\g.safetensors", GeneratorFile),
        (r"gen:C:\models\g.pt", ScriptFile),
        (r"gen:cyclegan-plain2striped(C:\images\cats)", Translation),
        (r"\\server\share\cats", Missing),
    ],
)
def test_a_drive_is_a_place_and_no_prefix(text: str, kind: type) -> None:
    assert isinstance(parse_spec(text), kind)
