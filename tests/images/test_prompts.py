"""Generators that take text: prompts from files and lists, what the generator is called with, and each fault."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ganeval.errors import ConfigError, InputError
from ganeval.generators.load import open_source
from ganeval.images.generated import GeneratedSource
from ganeval.images.prompts import read_prompts
from ganeval.images.types import NumberedSource

TEXTS = ("a red square", "two cats, one dog", "ein Fluß \u2028 abends")


def picture(text: str) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    return rng.integers(0, 256, (8, 8, 3), np.uint8)


def draw(prompts: list[str]) -> list[Image.Image]:
    assert isinstance(prompts, list)
    assert all(type(text) is str for text in prompts)
    return [Image.fromarray(picture(prompts.pop(0))) for _ in range(len(prompts))]  # which empties its list


def tinted(z: Tensor, prompts: list[str]) -> Tensor:
    plain = torch.from_numpy(np.stack([picture(text) for text in prompts])).permute(0, 3, 1, 2) / 255
    return (plain + z[:, :1, None, None].sigmoid()) / 2


def source(generator: Any = draw, **options: Any) -> GeneratedSource:
    found = open_source(generator, **{"prompts": TEXTS, **options})
    assert isinstance(found, GeneratedSource)
    return found


def pixels(found: Any, batch_size: int = 4) -> np.ndarray:
    batches = found.batches(batch_size)
    return np.concatenate([batch.images.numpy() for batch in batches]).transpose(0, 2, 3, 1)


def test_prompts_from_every_place(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="needs ganeval[parquet]")
    from pyarrow import parquet

    files = {
        "a.txt": "\ufeff" + "".join(f" {text}\r\n" for text in TEXTS) + "\n\n",
        "b.csv": "n,text,prompt\n" + "".join(f'1,"{text}",x\n' for text in TEXTS),
        "c.jsonl": "".join(json.dumps({"caption": f"{text}\n"}) + "\n" for text in TEXTS),
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    parquet.write_table(arrow.table({"prompt": list(TEXTS), "de": ["eins"] * 3}), tmp_path / "d.PARQUET")
    for given in (*(tmp_path / name for name in (*files, "d.PARQUET")), list(TEXTS), str(tmp_path / "a.txt")):
        assert read_prompts(given).texts == TEXTS
    assert read_prompts(tmp_path / "d.PARQUET", "de").texts == ("eins",) * 3
    assert read_prompts(tmp_path / "b.csv", "prompt").texts == ("x",) * 3


def test_image_i_is_of_prompt_i_modulo_their_number() -> None:
    expected = np.stack([picture(TEXTS[i % 3]) for i in range(8)])
    assert source().length == 3
    for batch_size in (1, 3, 8):
        assert np.array_equal(pixels(source(num_samples=8), batch_size), expected)
    some = source(num_samples=8).part([1, 5, 6])
    assert np.array_equal(pixels(some), expected[[1, 5, 6]])
    assert some.prompts() == [TEXTS[1], TEXTS[2], TEXTS[0]]
    assert np.array_equal(pixels(source(num_samples=2)), expected[:2])


def test_latents_come_first_where_they_are_declared() -> None:
    options = {"num_samples": 7, "value_range": (0, 1)}
    given = pixels(source(tinted, latent_dim=2, **options))
    assert np.array_equal(pixels(source(tinted, latent_dim=2, **options), 3), given)

    class Declares:
        z_dim = 2

        def __call__(self, z: Tensor, prompts: list[str]) -> Any:
            assert z.shape[1:] == (2,)
            return tinted(z, prompts)

    assert np.array_equal(pixels(source(Declares(), **options)), given)
    with pytest.raises(
        InputError, match=r"fails on a list of 2 prompts, on cpu: TypeError: .*latent_dim \(--latent-dim"
    ):
        source(tinted, **options).check()
    with pytest.raises(InputError, match=r"fails on latents of shape \(2, 4\), torch.float32 and 2 prompts on cpu"):
        source(draw, latent_dim=4).check()


@pytest.mark.parametrize("how", ["attribute", "mapping"])
def test_outputs_of_pipelines(how: str) -> None:
    def pipeline(prompts: list[str]) -> Any:
        images = draw(prompts)
        nsfw = [False] * len(images)
        return SimpleNamespace(images=images) if how == "attribute" else {"images": images, "nsfw": nsfw}

    assert np.array_equal(pixels(source(pipeline)), pixels(source()))
    with pytest.raises(InputError, match=r"returns a tuple.* for example lambda prompts: generator\(prompts\)\[0\]"):
        source(lambda prompts: (draw(prompts), None)).check()


def test_a_generator_that_draws_noise_makes_each_image_with_that_of_its_number() -> None:
    sizes = []

    def noisy(prompts: list[str]) -> Tensor:
        sizes.append(len(prompts))
        return torch.rand(len(prompts), 3, 4, 4) / 2 + len(prompts[0]) / 100

    whole = pixels(source(noisy, num_samples=6, value_range=(0, 1)))
    assert set(sizes[1:]) == {1}
    assert not np.array_equal(whole[0], whole[3])  # one prompt, two draws
    part = source(noisy, num_samples=6, value_range=(0, 1)).part([2, 4])
    assert np.array_equal(pixels(part), whole[[2, 4]])


def test_a_prompt_is_part_of_what_an_image_was_made_of() -> None:
    written = json.dumps(TEXTS, ensure_ascii=False).encode()
    described = source().describe()
    assert (described["prompts"], described["latents"]) == (3, None)
    assert described["prompts_sha256"] == hashlib.sha256(written).hexdigest()
    for options in ({}, {"latent_dim": 2, "generator": tinted, "value_range": (0, 1)}):
        one, other = (
            source(prompts=[*TEXTS[:2], last], **{"num_samples": 6, **options}).input_digests()
            for last in (TEXTS[2], "another")
        )
        assert len(set(one.tolist())) == 6
        assert (one == other).tolist() == [True, True, False] * 2
    assert (source().input_digests() != source(seed=1).input_digests()).all()


def test_a_subset_is_of_all_prompts() -> None:
    texts = [f"number {i}" for i in range(30)]
    some = open_source(draw, prompts=texts, num=5, seed=3)
    assert isinstance(some, NumberedSource)
    assert some.describe()["subset"] == {"n": 5, "of": 30, "seed": 3}
    assert some.prompts() == [texts[i] for i in some.indices]
    labelled = open_source(lambda z, y: tinted(z, ["a"] * len(z)), latent_dim=2, labels=[0, 1] * 9, num=5)
    assert (labelled.length, labelled.describe()["subset"]["of"]) == (5, 18)  # type: ignore[index]


def test_shards_of_other_prompts_are_of_another_whole() -> None:
    wholes = [source(prompts=p, num_samples=300).shard(1, 2).describe()["subset"] for p in (TEXTS, ["a"])]
    assert wholes[0]["whole"] != wholes[1]["whole"]  # type: ignore[index]


@pytest.mark.parametrize("more", [{"num_classes": 3}, {"labels": [0, 1]}, {"label_distribution": "balanced"}])
def test_prompts_and_classes_iv(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"--prompts .* is for generators that take text, and .*{next(iter(more))}="):
        source(**more)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "prompts holds no prompts"),
        (["a", " \n"], "prompts: entry 1 is empty; expected a prompt"),
        (["a", None], "prompts: entry 1 is empty"),
        (["a", 3], "prompts: entry 1 has 3; expected a prompt, which is a text"),
        (["a", "\ud800"], "entry 1 has .*UTF-8 cannot hold"),
        ("missing.txt", "missing.txt cannot be read: No such file"),
    ],
)
def test_lists_iv(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        source(prompts=given)


def test_latents_that_are_not_declared_iv() -> None:
    with pytest.raises(InputError, match="pass --latent-dim .*For a generator that takes text, give --prompts"):
        open_source(draw, num_samples=3)
