"""Captions in the rows that hold the images: Parquet, Arrow, data sets of Hugging Face and of dictionaries."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import Subset

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError, InputError
from ganeval.images.captions import Assigned, assign_captions
from ganeval.images.open import open_images
from ganeval.images.shapes import render
from ganeval.images.types import NumberedSource

arrow = pytest.importorskip("pyarrow", reason="needs ganeval[parquet]")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs ganeval[parquet]")
Capture = pytest.CaptureFixture[str]
N = 7
TEXTS = [f"scene {i}" for i in range(N)]


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(render(number, seed=3, size=16)).save(file, "PNG")
    return file.getvalue()


def table(paths: bool = False, **columns: Any) -> Any:
    rows = [{"bytes": png(i), "path": f"a/{i}.png" if paths else None} for i in range(N)]
    return arrow.table({"image": rows, **columns})


def write(path: Path, content: Any) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(content, path, row_group_size=3)
    else:
        with arrow.ipc.new_file(str(path), content.schema) as writer:
            writer.write_table(content, max_chunksize=3)
    return path


def assigned(images: object, column: str | None = None) -> Assigned:
    source = open_images(images)
    assert isinstance(source, NumberedSource)
    return assign_captions(source, None, caption_column=column)


def items(**columns: list[Any]) -> list[dict[str, Any]]:
    return [
        {"image": render(i, seed=3, size=16), **{name: column[i] for name, column in columns.items()}} for i in range(N)
    ]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_column_of_a_file(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, table(prompt=["other"] * N, text=TEXTS, de=[f" {text}\n" for text in TEXTS]))
    assert assigned(path) == Assigned(list(TEXTS), column="text", rows=[f"#{i}" for i in range(N)])
    assert assigned(path, "de").captions == TEXTS
    assert assigned(path, "prompt").captions == ["other"] * N
    some = open_images(path, num=3, seed=1)
    assert isinstance(some, NumberedSource)
    assert assign_captions(some, None).captions == [TEXTS[i] for i in some.indices]


def test_a_column_of_shards(tmp_path: Path) -> None:
    for shard, more in enumerate(({"text": TEXTS, "x": TEXTS}, {"text": [f"{t}!" for t in TEXTS], "y": TEXTS})):
        write(tmp_path / f"s-{shard}.parquet", table(**more))
    pattern = f"{tmp_path}/s-{{0..1}}.parquet"
    assert assigned(pattern).captions == [*TEXTS, *(f"{text}!" for text in TEXTS)]
    with pytest.raises(InputError, match="has no column 'x'; its columns are image, text"):
        assigned(pattern, "x")


def test_a_column_of_a_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs ganeval[hf]")
    features = datasets.Features({"image": datasets.Image(), "prompt": datasets.Value("string")})
    rows = {"image": [{"bytes": png(i), "path": None} for i in range(N)], "prompt": TEXTS}
    made = datasets.Dataset.from_dict(rows, features=features)
    made.save_to_disk(str(tmp_path / "saved"))
    shown = made.with_transform(
        lambda batch: {"image": batch["image"], "caption": [t.upper() for t in batch["prompt"]]}
    )
    for given in (f"hf:{tmp_path}/saved", made, made.with_format("torch"), items(prompt=TEXTS)):
        assert assigned(given).captions == TEXTS
        assert assigned(given).column == "prompt"
    assert assigned(shown).captions == [text.upper() for text in TEXTS]
    assert assigned(Subset(items(caption=TEXTS), [4, 2])).captions == [TEXTS[4], TEXTS[2]]  # type: ignore[arg-type]


def test_only_the_column_of_a_stored_data_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="needs ganeval[hf]")
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    rows = {"image": [{"bytes": png(i), "path": None} for i in range(N)], "caption": TEXTS}
    made = datasets.Dataset.from_dict(rows, features=features).with_format("numpy")
    source = open_images(made)
    monkeypatch.setattr(datasets.Image, "decode_example", lambda *_, **__: pytest.fail("an image was decoded"))
    assert assign_captions(source, None).captions == TEXTS  # type: ignore[arg-type]


FAULTS = [
    ({"words": TEXTS}, None, "has no column caption, text, prompt; its columns are image, words. Name the column"),
    ({"text": TEXTS}, "texts", "has no column 'texts'; its columns are image, text. Did you mean 'text'?"),
    ({"text": list(range(N))}, None, "#0: column 'text' has 0; expected a text"),
    ({"text": [*TEXTS[:5], None, TEXTS[6]]}, None, "1 image of {spec} without a caption: #5"),
    ({"text": [*TEXTS[:4], "", " \n", TEXTS[6]]}, None, "2 images of {spec} without a caption: #4, #5"),
    ({"text": [[text] for text in TEXTS]}, None, "#0: column 'text' has ['scene 0']; expected a text"),
]


@pytest.mark.parametrize(("columns", "chosen", "message"), FAULTS)
def test_a_column_of_a_file_iv(
    columns: dict[str, list[Any]], chosen: str | None, message: str, tmp_path: Path, capsys: Capture
) -> None:
    path = write(tmp_path / "a.parquet", table(**columns))
    option = [] if chosen is None else ["--caption-column", chosen]
    assert main(["clip-score", str(path), *option, "--device", "cpu"]) == 2
    captured = capsys.readouterr()
    assert message.format(spec=path) in captured.err.replace("\n", " ")
    assert captured.out == ""


@pytest.mark.parametrize(("columns", "chosen", "message"), FAULTS)
def test_a_column_of_items_iv(columns: dict[str, list[Any]], chosen: str | None, message: str) -> None:
    with pytest.raises(InputError) as raised:
        ganeval.clip_score(items(**columns), caption_column=chosen, device="cpu")
    assert message.format(spec="list") in str(raised.value)


def test_a_row_with_a_name_and_one_without_the_key_iv(tmp_path: Path) -> None:
    named = write(tmp_path / "a.parquet", table(paths=True, text=[*TEXTS[:6], None]))
    with pytest.raises(InputError, match=r"without a caption: #6 \(a/6.png\)"):
        ganeval.clip_score(named, device="cpu")
    lacking = items(text=TEXTS)
    del lacking[3]["text"]
    with pytest.raises(InputError, match="list, #3: the item has no column 'text': its columns are image"):
        ganeval.clip_score(lacking, device="cpu")


@pytest.mark.parametrize("captions", [None, "a.txt", "folder"])
@pytest.mark.parametrize("name", ["caption_column", "name_column"])
def test_a_column_without_effect_iv(captions: str | None, name: str, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(2):
        (folder / f"{i}.png").write_bytes(png(i))
        (folder / f"{i}.txt").write_text("a text")
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    given = None if captions is None else tmp_path / captions
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(ConfigError, match=f"{flag} .*Leave it out"):
        ganeval.clip_score(folder, captions=given, device="cpu", **{name: "text"})
    more = [] if given is None else ["--captions", str(given)]
    assert main(["clip-score", str(folder), flag, "text", *more, "--device", "cpu"]) == 2
    assert "Leave it out" in capsys.readouterr().err.replace("\n", " ")


def test_options_without_effect_iv(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table(text=TEXTS))
    for options in ({"name_column": "name"}, {"captions": TEXTS, "caption_column": "text"}, {"latent_dim": 4}):
        with pytest.raises(ConfigError, match="Leave it out"):
            ganeval.clip_score(path, device="cpu", **options)
    pairs = [(np.zeros((8, 8, 3), np.uint8), "a text") for _ in range(N)]
    with pytest.raises(ConfigError, match="the images of list are not in rows with columns"):
        ganeval.clip_score(pairs, caption_column="1", device="cpu")
