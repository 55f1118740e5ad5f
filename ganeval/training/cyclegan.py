"""Train CycleGAN from two sources of images: ``ganeval train cyclegan``, and the same from Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from ganeval.arithmetic import plain_defaults
from ganeval.engine.config import ProgressFactory
from ganeval.errors import ConfigError, InputError
from ganeval.features.devices import choose_device
from ganeval.generators.cyclegan import ImagePool, check_size, default_patch, require_positive
from ganeval.images.user_models import keep_random_states
from ganeval.protocol import get_protocol
from ganeval.training.cycle_game import LEAST_SQUARES, CycleGame, Recipe
from ganeval.training.hardware import require_precision
from ganeval.training.judge import public_name
from ganeval.training.loop import Batches, Schedule, digest_of, load_images, play
from ganeval.training.runs import open_run
from ganeval.training.translation import Yardstick


@keep_random_states()
@plain_defaults()
def train_cyclegan(
    domain_a: Any,
    domain_b: Any,
    output: str | Path,
    *,
    size: int = 64,
    width: int = 32,
    blocks: int = 6,
    skip: bool = False,
    discriminator_width: int = 64,
    patch: int | None = None,
    steps: int = 20_000,
    batch_size: int = 1,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    cycle_weight: float = 10.0,
    identity_weight: float = 5.0,
    identity_every: int = 1,
    pool_size: int = 50,
    rate: float = 2e-4,
    cycle_noise: float = 0.0,
    cycle_through: float = 1.0,
    keep_weight: float = 0.0,
    average: float = 0.999,
    names: tuple[str, str] = ("a", "b"),
    test_a: Any = None,
    test_b: Any = None,
    paired_test: bool = False,
    num_samples: int | None = None,
    num_test: int = 1000,
    protocol: str = "compact",
    metrics: Sequence[str] | None = None,
    log_every: int = 20,
    sample_every: int = 500,
    eval_every: int = 1000,
    checkpoint_every: int = 500,
    max_minutes: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_error: str = "stop",
    data_root: str | Path | None = None,
    download: bool = False,
    progress: ProgressFactory | None = None,
) -> Path:
    """Train translators between two domains of images that are not paired, and write them to a folder.

    The folder gets ``a2b.safetensors`` and ``b2a.safetensors`` with their cards, ``log.jsonl``, ``samples/``,
    ``game.png`` and the last checkpoint.

    Args:
        domain_a: images of the first domain: whatever ``open_images`` takes.
        domain_b: of the second.
        output: a folder.
        size: of the square images that the networks see, in pixels: a multiple of 4, at least 16.
        width: channels of the generators' first convolution (the paper: 64).
        blocks: residual blocks (the paper: 6 at 128 pixels, 9 from 256 on).
        skip: the generators make what is added to their input; a departure from the paper.
        discriminator_width: channels of the discriminators' first convolution (the paper: 64).
        patch: receptive field of the discriminators, 16, 34 or 70 pixels; by default one that suits the size.
        steps: updates of each player.
        batch_size: images of each domain in a step (the paper: 1).
        seed: of first weights, order and noise.
        device: ``auto``, ``cpu``, ``cuda``, ...
        precision: ``float32``; ``bf16`` for mixed precision; ``tf32``, on CUDA alone, for products of 10 bits.
        cycle_weight, identity_weight, identity_every, pool_size, rate: see ``Recipe``.
        cycle_noise, cycle_through, keep_weight, average: likewise.
        names: of the domains, for the cards.
        test_a: images to evaluate on; by default the first ones of domain a.
        test_b: likewise.
        paired_test: image i of ``test_a`` and of ``test_b`` are true counterparts.
        num_samples: a seeded subset of this size of each domain; of rendered images, how many.
        num_test: images of each domain in an evaluation. Of pairs, twice as many are read: half of them stand for the
            target, since counterparts are no independent samples.
        protocol: of the distances.
        metrics: measured beside FD; by default ``ganeval.training.judge.METRICS``, if ``num_test`` allows them.
        log_every, sample_every, eval_every, checkpoint_every: in steps.
        max_minutes: stop then; the run can be resumed.
        resume: go on with the run in the folder.
        overwrite: replace it.
        on_error: ``stop`` at an unreadable file, or ``skip`` it, with a note.
        data_root, download: for torchvision's datasets.
        progress: called with what is done and the number of images, returns a progress display.

    Returns:
        The folder.

    Raises:
        ConfigError: a size or setting that the networks cannot take.
        InputError: images that cannot be used, or a folder that holds another run.
    """
    patch = default_patch(size) if patch is None else patch
    check_size(size, patch)
    recipe = Recipe(
        cycle_weight=cycle_weight, identity_weight=identity_weight, identity_every=identity_every,
        pool_size=pool_size, rate=rate, cycle_noise=cycle_noise, cycle_through=cycle_through,
        keep_weight=keep_weight, average=average,
    )  # fmt: skip
    schedule = Schedule(
        steps=steps, log_every=log_every, sample_every=sample_every, eval_every=eval_every,
        checkpoint_every=checkpoint_every, max_minutes=max_minutes,
    )  # fmt: skip
    torch_device = choose_device(device)
    require_precision(precision, torch_device)
    get_protocol(protocol)
    if paired_test and (test_a is None or test_b is None):
        raise ConfigError("paired test images need both domains: give test_a and test_b.")
    generator: dict[str, Any] = {"width": width, "blocks": blocks, "skip": skip}
    discriminator: dict[str, Any] = {"width": discriminator_width, "patch": patch}
    require_positive(width=width, blocks=blocks, discriminator_width=discriminator_width, num_test=num_test)
    ImagePool(pool_size)  # a bad number is said before the images are read
    opening: dict[str, Any] = {
        "size": size, "seed": seed, "on_error": on_error, "data_root": data_root, "download": download
    }  # fmt: skip
    a, b = (
        load_images(spec, least=max(2, batch_size), what=f"domain {k}", num=num_samples, **opening)
        for spec, k in ((domain_a, "a"), (domain_b, "b"))
    )
    held_out = num_test * (2 if paired_test else 1)
    tests = [
        first[:num_test] if spec is None
        else load_images(
            spec, least=4 if paired_test else 2, what=f"test images of domain {k}", num_samples=held_out, **opening
        )[:held_out]
        for spec, first, k in ((test_a, a, "a"), (test_b, b, "b"))
    ]  # fmt: skip
    if paired_test and len(tests[0]) != len(tests[1]):
        raise InputError(
            f"paired test images come in equal numbers; {public_name(test_a)} has {len(tests[0])}, "
            f"{public_name(test_b)} {len(tests[1])}. Leave out --paired-test where they are no pairs."
        )
    data = {"domains": list(names), "data": [_describe(domain_a, a), _describe(domain_b, b)]}
    settings = {
        "size": size, "steps": steps, "batch_size": batch_size, "seed": seed, "precision": precision,
        "recipe": {**asdict(recipe), "loss": LEAST_SQUARES, "optimiser": "Adam, beta1 0.5, linear decay"},
        "discriminator": discriminator,
    }  # fmt: skip
    yardsticks = tuple(_yardsticks(*tests, paired=paired_test, protocol=protocol, metrics=metrics, device=device))
    run = open_run(
        output, {"model": "cyclegan", "architecture": generator, **settings, **data}, resume=resume, overwrite=overwrite
    )
    game = CycleGame(
        (Batches(a, batch_size, seed, stream="a"), Batches(b, batch_size, seed, stream="b")),
        generator=generator,
        discriminator=discriminator,
        recipe=recipe,
        steps=steps,
        yardsticks=yardsticks,  # type: ignore[arg-type]
        seed=seed,
        device=torch_device,
        precision=precision,
        domains=names,
        card={**data, **settings, "protocol": protocol, "test": [*map(_describe, (test_a, test_b), tests)]},
    )
    play(game, run, schedule, device=torch_device, precision=precision, progress=progress)
    return run.folder


def _yardsticks(a: Tensor, b: Tensor, *, paired: bool, **settings: Any) -> Iterator[Yardstick]:
    """Of a to b, and of b to a. Counterparts must not stand in source and target at once: those are two samples."""
    if not paired:
        yield Yardstick(a, b, **settings)
        yield Yardstick(b, a, **settings)
        return
    n = min(len(a), len(b)) // 2
    yield Yardstick(a[:n], b[n : 2 * n], pairs=b[:n], **settings)
    yield Yardstick(b[:n], a[n : 2 * n], pairs=a[:n], **settings)


def _describe(spec: Any, images: Tensor) -> dict[str, object]:
    named = "the first of the training images" if spec is None else public_name(spec)
    return {"spec": named, "n": len(images), "digest": digest_of(images)}
