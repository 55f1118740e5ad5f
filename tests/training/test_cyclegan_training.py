"""CycleGAN's game at tiny size: who moves what, what each loss is, and that a resumed run ends as one in one piece."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganeval.errors import ConfigError, InputError
from ganeval.generators.checkpoint import load_generator
from ganeval.training import cycle_game
from ganeval.training.checkpoints import load_checkpoint
from ganeval.training.config import CycleGANConfig
from ganeval.training.cycle_game import CycleGame, learning_rate
from ganeval.training.cyclegan import train_cyclegan
from ganeval.training.loop import Batches
from ganeval.training.translation import Yardstick

A, B = "dataset:shapes-plain:16@1", "dataset:shapes-striped:16@2"
TINY: dict[str, Any] = {
    "size": 16, "width": 2, "blocks": 1, "discriminator_width": 2, "batch_size": 2, "steps": 6, "num_samples": 9,
    "num_test": 4, "pool_size": 3, "device": "cpu", "log_every": 2, "eval_every": 0, "sample_every": 0,
    "checkpoint_every": 2,
}  # fmt: skip


PLAYED: dict[str, Any] = {"width": 2, "blocks": 1, "discriminator_width": 2, "patch": 16, "steps": 10}


def domain(seed: int) -> Tensor:
    return torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def game(**options: Any) -> CycleGame:
    a, b = domain(1), domain(2)
    config = CycleGANConfig(**{**PLAYED, **options})
    return CycleGame(
        (Batches(a, 2, config.seed, stream="a"), Batches(b, 2, config.seed, stream="b")),
        config,
        yardsticks=(Yardstick(a, b), Yardstick(b, a)),
        device=torch.device("cpu"),
        card={},
    )


def copies(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def changed(before: list[Tensor], network: nn.Module) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


# --- one step ------------------------------------------------------------------------------------------------------


def test_each_player_moves_only_its_own_parameters() -> None:
    play = game()
    a, b = (batches.draw(0) for batches in play.batches)
    before = {name: copies(getattr(play, name)) for name in ("generators", "discriminators")}
    fake_a, fake_b, _ = play._move_generators(0, a, b)
    assert changed(before["generators"], play.generators)
    assert not changed(before["discriminators"], play.discriminators)
    assert not fake_a.requires_grad
    before["generators"] = copies(play.generators)
    play._move_discriminators({"a": (a, fake_a), "b": (b, fake_b)})
    assert not changed(before["generators"], play.generators)
    assert changed(before["discriminators"], play.discriminators)
    assert all(p.requires_grad for p in play.discriminators.parameters())


def test_losses_against_theory() -> None:
    """The generators' gradient is that of the objective, written down network by network."""
    play = game(cycle_weight=10.0, identity_weight=3.0, keep_weight=0.7)
    g, f = play.generators["a2b"], play.generators["b2a"]
    d_a, d_b = play.discriminators["a"], play.discriminators["b"]
    a, b = (batches.draw(0) for batches in play.batches)
    judged = (d_b(g(a)) - 1).square().mean() + (d_a(f(b)) - 1).square().mean()
    cycle = (f(g(a)) - a).abs().mean() + (g(f(b)) - b).abs().mean()
    identity = (g(b) - b).abs().mean() + (f(a) - a).abs().mean()
    kept = (g(a) - a).abs().mean() + (f(b) - b).abs().mean()
    loss = judged + 10 * cycle + 3 * identity + 0.7 * kept
    expected = torch.autograd.grad(loss, list(play.generators.parameters()))
    _, _, logged = play._move_generators(0, a, b)
    found = [p.grad for p in play.generators.parameters()]
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)
    values = {"generators": judged, "cycle": cycle / 2, "identity": identity / 2, "change": kept / 2}
    assert {k: float(v) for k, v in logged.items()} == pytest.approx({k: v.item() for k, v in values.items()}, rel=1e-5)


def test_the_cycle_teaches_both_translators_or_only_the_second() -> None:
    """With the discriminators silenced, and through=0, no gradient reaches the first translator of a cycle."""
    for through in (1.0, 0.25, 0.0):
        play = game(cycle_through=through, identity_weight=0.0)
        network = play.generators["a2b"]
        fake = torch.zeros(2, 3, 16, 16, requires_grad=True)
        back, same = play._back(network, fake, None, torch.Generator())
        assert same is None
        if through == 0:
            assert not torch.autograd.grad(back.sum(), fake, allow_unused=True)[0]
            continue
        (share,) = torch.autograd.grad(back.square().sum(), fake)
        whole = torch.zeros(2, 3, 16, 16, requires_grad=True)
        (expected,) = torch.autograd.grad(network(whole).square().sum(), whole)
        assert torch.allclose(share, through * expected, rtol=1e-4, atol=1e-7)


def test_noise_goes_on_the_way_back_only() -> None:
    play = game(cycle_noise=0.5)
    seen: list[Tensor] = []
    play.generators["a2b"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    a, b = (batches.draw(0) for batches in play.batches)
    fake_a, _, _ = play._move_generators(0, a, b)
    assert torch.equal(seen[0], a)
    assert 0.4 < float((seen[1][:2] - fake_a).std()) < 0.6
    assert torch.equal(seen[1][2:], b)


def test_identity_every() -> None:
    play = game(identity_every=3)
    logged = [play.step(i, measure=True) for i in range(6)]
    assert ["identity" in values for values in logged] == [False, False, True, False, False, True]
    off = game(identity_weight=0.0)
    assert "identity" not in off.step(0, measure=True)


def test_discriminators_see_the_pool() -> None:
    play = game(pool_size=2)
    for step in range(8):
        play.step(step, measure=False)
    assert {k: len(pool) for k, pool in play.pools.items()} == {"a": 2, "b": 2}
    marked = torch.full((2, 3, 16, 16), 0.25)
    for pool in play.pools.values():
        pool._images = marked.clone()
    seen: list[Tensor] = []
    play.discriminators["a"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    fakes = torch.zeros(40, 3, 16, 16)
    real = play.batches[0].draw(0)
    play._move_discriminators({"a": (real, fakes)} | {"b": (real, fakes)})
    old = (seen[0][2:] == 0.25).all(dim=(1, 2, 3))
    assert torch.equal(seen[0][:2], real)
    assert 1 <= int(old.sum()) <= 2


def test_precision_reaches_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32)):
        play = game(precision=precision)
        seen: set[torch.dtype] = set()
        for network in (play.generators["b2a"], play.discriminators["b"]):
            convolution = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
            convolution.register_forward_hook(lambda _, inputs, output, seen=seen: seen.add(output.dtype))
            assert convolution.weight.dtype == torch.float32
            assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
        play.step(0, measure=False)
        assert seen == {dtype}


def test_the_panels_show_what_is_measured() -> None:
    play = game(keep_weight=1.0)
    judged = ("fd", "pair_l1", "precision", "recall", "ind")
    measured = set(play.step(0, measure=True)) | {f"{way}_{key}" for way in ("a2b", "b2a") for key in judged}
    assert {name for panel in play.panels for name in panel.lines} == measured


def test_learning_rate_against_theory() -> None:
    rates = [learning_rate(step, 100, 2e-4) for step in range(100)]
    assert rates[:51] == [2e-4] * 51
    assert np.allclose(np.diff(rates[50:]), -2e-4 / 50)
    assert rates[-1] == pytest.approx(2e-4 / 50)
    play = game(rate=1e-3)
    play.step(9, measure=False)
    assert all(g["lr"] == learning_rate(9, 10, 1e-3) for o in play.optimisers.values() for g in o.param_groups)


def test_seed_decides_everything() -> None:
    def play(seed: int) -> list[float]:
        one = game(seed=seed, cycle_noise=0.1)
        torch.manual_seed(torch.seed() % 2**31)  # the global state must not matter
        return [one.step(i, measure=True)["cycle"] for i in range(3)]

    assert play(1) == play(1) != play(2)


def test_making_a_game_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    game().step(0, measure=True)
    assert torch.equal(torch.rand(2), expected)


# --- whole runs ----------------------------------------------------------------------------------------------------


def require_equal(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            require_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            require_equal(one, other, f"{where}[{i}]")
    else:
        assert a == b, where


def state_of(folder: Path) -> dict[str, Any]:
    loaded = load_checkpoint(folder)
    assert loaded is not None
    return loaded[1]["game"]  # type: ignore[no-any-return]


def untimed(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_broken_off_and_resumed_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    settings = {**TINY, "precision": precision, "cycle_noise": 0.1, "keep_weight": 0.5}
    whole = train_cyclegan(A, B, tmp_path / "whole", **settings)
    step = CycleGame.step

    def failing(self: CycleGame, number: int, *, measure: bool) -> dict[str, float]:
        if number == 5:
            raise KeyboardInterrupt
        return step(self, number, measure=measure)

    monkeypatch.setattr(CycleGame, "step", failing)
    with pytest.raises(KeyboardInterrupt):
        train_cyclegan(A, B, tmp_path / "broken", **settings)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "broken")[0] == 4  # type: ignore[index]
    torch.randn(3)
    broken = train_cyclegan(A, B, tmp_path / "broken", **settings, resume=True)
    require_equal(state_of(broken), state_of(whole))
    for name in ("a2b.safetensors", "b2a.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    assert untimed(broken) == untimed(whole)


def test_what_a_run_leaves(tmp_path: Path) -> None:
    """Generators that load again, cards that tell what they are, and pictures."""
    tests = {"test_a": "dataset:shapes-plain:16@3", "test_b": "dataset:shapes-striped:16@3", "paired_test": True}
    settings = {**TINY, **tests, "eval_every": 3, "sample_every": 5, "names": ("plain", "striped"), "seed": 4}
    folder = train_cyclegan(A, B, tmp_path / "run", **settings)
    assert sorted(p.name for p in folder.iterdir()) == [
        "a2b.json", "a2b.safetensors", "b2a.json", "b2a.safetensors", "checkpoint-00000006.safetensors",
        "checkpoint.json", "game.png", "log.jsonl", "run.json", "samples",
    ]  # fmt: skip
    for name, domains in (("a2b", ["plain", "striped"]), ("b2a", ["striped", "plain"])):
        loaded = load_generator(folder / f"{name}.safetensors")
        card = loaded.card
        assert (card["model"], card["arguments"]) == ("cyclegan", {"width": 2, "blocks": 1, "skip": False})
        assert (card["value_range"], card["domains"], card["direction"]) == ([-1, 1], domains, name)
        assert (card["steps"], card["seed"], card["recipe"]["cycle_weight"]) == (6, 4, 10.0)
        assert [point["step"] for point in card["curve"]] == [0, 3]
        assert {k: card["data"][0][k] for k in ("spec", "n")} == {"spec": A, "n": 9}
        assert len({d["digest"] for d in card["data"]}) == 2
        metrics = card["metrics"]
        assert metrics["a2b_n"] == metrics["b2a_n"] == 4
        assert metrics["a2b_pair_l1_untranslated"] == metrics["b2a_pair_l1_untranslated"] * 1.0
        made = loaded.module(torch.zeros(1, 3, 16, 16))
        assert made.shape == (1, 3, 16, 16)
    with Image.open(folder / "samples" / "00000005.png") as grid:  # a, a2b, pair, back; b, b2a, pair, back
        assert grid.size == (8 * 18 - 2, 4 * 18 - 2)


def test_metrics_of_the_evaluations(tmp_path: Path) -> None:
    """FD, and whatever is named beside it, both ways, before and after."""
    settings = {**TINY, "num_samples": 30, "num_test": 30, "eval_every": 3, "metrics": ("recall", "kid")}
    folder = train_cyclegan(A, B, tmp_path / "run", **settings)
    end = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    for key in ("fd", "fd_untranslated", "recall", "recall_untranslated", "kid", "kid_untranslated"):
        assert isinstance(end[f"a2b_{key}"], float)
        assert isinstance(end[f"b2a_{key}"], float)
    assert "a2b_precision" not in end
    with pytest.raises(ConfigError, match="Unknown metric 'fidd'"):
        train_cyclegan(A, B, tmp_path / "other", **{**settings, "metrics": ("fidd",)})
    assert not (tmp_path / "other").exists()


def test_evaluation_changes_nothing_in_the_game(tmp_path: Path) -> None:
    whole = train_cyclegan(A, B, tmp_path / "a", **TINY)
    watched = train_cyclegan(A, B, tmp_path / "b", **{**TINY, "eval_every": 1, "sample_every": 1, "log_every": 1})
    assert (whole / "a2b.safetensors").read_bytes() == (watched / "a2b.safetensors").read_bytes()


def test_counterparts_are_not_source_and_target_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[Yardstick] = []

    class Watched(Yardstick):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    from ganeval.training import cyclegan

    monkeypatch.setattr(cyclegan, "Yardstick", Watched)
    tests = {"test_a": "dataset:shapes-plain:16@3", "test_b": "dataset:shapes-striped:16@3", "paired_test": True}
    train_cyclegan(A, B, tmp_path / "run", **{**TINY, **tests, "steps": 1})
    there, back = made
    assert there.pairs is not None
    assert back.pairs is not None
    assert torch.equal(there.source, back.pairs)
    assert torch.equal(back.source, there.pairs)
    assert not any(torch.equal(one, other) for one in there.pairs for other in there.target)
    assert (there.pairs != there.source).any()


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 30}, "a multiple of 4; got 30"),
        ({"size": 8}, "at least 16 pixels.*got 8"),
        ({"patch": 70}, "--patch 70 is too large for images of 16"),
        ({"patch": 35}, "one of 16, 34, 70 pixels; got 35"),
        ({"width": 0}, "--width .* must be at least 1; got 0"),
        ({"blocks": 0}, "--blocks .* must be at least 1; got 0"),
        ({"discriminator_width": 0}, "--discriminator-width .* must be at least 1"),
        ({"pool_size": -1}, "--pool-size .* must be at least 0; got -1"),
        ({"cycle_weight": -1.0}, "--cycle-weight .* must be at least 0; got -1"),
        ({"cycle_weight": float("nan")}, "--cycle-weight .* got nan"),
        ({"cycle_through": 2.0}, "--cycle-through .* must be from 0 to 1; got 2"),
        ({"identity_every": 0}, "--identity-every .* must be at least 1"),
        ({"rate": 0.0}, "--rate .* must be a number between 0 and 1; got 0"),
        ({"precision": "fp16"}, "--precision .* must be one of float32, bf16"),
        ({"average": 1.0}, "--average .* must be a number below 1"),
        ({"steps": 0}, "--steps .* must be at least 1"),
        ({"device": "cuda:99"}, "no device 'cuda:99'"),
        ({"protocol": "fidd"}, "Unknown protocol 'fidd'"),
        ({"paired_test": True}, "--paired-test needs test images of both domains"),
        ({"test_a": A, "num_test": 0}, "--num-test .* must be at least 2"),
    ],
)
def test_settings_iv(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_cyclegan(A, B, tmp_path / "run", **{**TINY, **settings})
    assert not (tmp_path / "run").exists()


def test_domains_iv(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    Image.new("RGB", (16, 16)).save(one / "0.png")
    with pytest.raises(InputError, match=r"domain a: .*one has 1, expected at least 2"):
        train_cyclegan(one, one, tmp_path / "run", **{**TINY, "num_samples": None})
    with pytest.raises(InputError, match="No such file or folder"):
        train_cyclegan(tmp_path / "nowhere", B, tmp_path / "run", **TINY)
    with pytest.raises(InputError, match=r"domain a: .* has 9, expected at least 10"):
        train_cyclegan(A, B, tmp_path / "run", **{**TINY, "batch_size": 10})
    pairs = {"test_a": domain(1), "test_b": domain(1)[:6], "paired_test": True}
    with pytest.raises(InputError, match="Tensor has 8 images and Tensor 6; .* equally many"):
        train_cyclegan(A, B, tmp_path / "run", **TINY, **pairs)
    assert not (tmp_path / "run").exists()


def test_folder_iv(tmp_path: Path) -> None:
    settings = {**TINY, "steps": 2}
    run = train_cyclegan(A, B, tmp_path / "run", **settings)
    with pytest.raises(InputError, match="already holds a training run"):
        train_cyclegan(A, B, run, **settings)
    with pytest.raises(InputError, match=r"checkpoint of another architecture \(blocks: 1, now 2\)"):
        train_cyclegan(A, B, run, **{**settings, "blocks": 2}, resume=True)
    with pytest.raises(InputError, match="holds another run"):
        train_cyclegan(B, A, run, **settings, resume=True)
    train_cyclegan(A, B, run, **{**settings, "blocks": 2}, overwrite=True)
    assert load_generator(run / "a2b.safetensors").card["arguments"]["blocks"] == 2


def test_least_squares_is_what_it_says() -> None:
    assert cycle_game.LEAST_SQUARES == "least-squares"
