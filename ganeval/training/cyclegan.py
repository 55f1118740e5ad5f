"""Train CycleGAN from two sources of images: ``ganeval train cyclegan``, and the same from Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from ganeval.arithmetic import plain_defaults
from ganeval.engine.config import ProgressFactory
from ganeval.errors import ConfigError, InputError
from ganeval.features.devices import choose_device
from ganeval.generators.cyclegan import check_size
from ganeval.images.user_models import keep_random_states
from ganeval.training.config import CycleGANConfig
from ganeval.training.cycle_game import LEAST_SQUARES, CycleGame, architecture, discriminator
from ganeval.training.hardware import require_precision
from ganeval.training.judge import public_name, require_measurable
from ganeval.training.loop import Batches, digest_of, load_images, play
from ganeval.training.runs import open_run
from ganeval.training.translation import Yardstick


@keep_random_states()
@plain_defaults()
def train_cyclegan(
    domain_a: Any, domain_b: Any, output: str | Path, *, progress: ProgressFactory | None = None, **options: Any
) -> Path:
    """Train translators between two domains of images that are not paired, and write them to a folder.

    The folder gets ``a2b.safetensors`` and ``b2a.safetensors`` with their cards, ``log.jsonl``, ``samples/``,
    ``game.png`` and the last checkpoint.

    Args:
        domain_a: images of the first domain: any source that ``open_images`` takes.
        domain_b: images of the second domain.
        output: the folder of this run.
        progress: called with a title and the number of images, returns a progress display.
        options: the fields of ``ganeval.training.config.CycleGANConfig``, as keyword arguments.

    Returns:
        The folder.

    Raises:
        ConfigError: an option is outside its limits, or does not suit the networks or the device.
        InputError: the images cannot be used, or the folder holds another run.
    """
    config = CycleGANConfig.of(options)
    check_size(config.size, config.patch)
    device = choose_device(config.device)
    require_precision(config.precision, device)
    require_measurable(config)
    if config.paired_test and (config.test_a is None or config.test_b is None):
        raise ConfigError("--paired-test needs test images of both domains. Give --test-a and --test-b.")
    domains = [_load(config, domain, k) for domain, k in ((domain_a, "a"), (domain_b, "b"))]
    tests = [
        domain[: config.num_test] if spec is None else _load_test(config, spec, k)
        for spec, domain, k in zip((config.test_a, config.test_b), domains, "ab", strict=True)
    ]
    if config.paired_test and len(tests[0]) != len(tests[1]):
        raise InputError(
            f"{public_name(config.test_a)} has {len(tests[0])} images and {public_name(config.test_b)} "
            f"{len(tests[1])}; paired test images must be equally many. Leave out --paired-test if they are not pairs."
        )
    data = {"domains": list(config.names), "data": [*map(_describe, (domain_a, domain_b), domains)]}
    weights = config.chosen("cycle_weight", "identity_weight", "identity_every", "pool_size", "rate", "cycle_noise")
    others = config.chosen("cycle_through", "keep_weight", "average")
    settings = {
        **config.chosen("size", "steps", "batch_size", "seed", "precision"),
        "recipe": {**weights, **others, "loss": LEAST_SQUARES, "optimiser": "Adam, beta1 0.5, linear decay"},
        "discriminator": discriminator(config),
    }
    a_to_b, b_to_a = _yardsticks(config, *tests)
    described = {"model": "cyclegan", "architecture": architecture(config), **settings, **data}
    run = open_run(output, described, resume=config.resume, overwrite=config.overwrite)
    a, b = (Batches(images, config.batch_size, config.seed, stream=k) for images, k in zip(domains, "ab", strict=True))
    tested = [*map(_describe, (config.test_a, config.test_b), tests)]
    card = {**data, **settings, "protocol": config.protocol, "test": tested}
    game = CycleGame((a, b), config, yardsticks=(a_to_b, b_to_a), device=device, card=card)
    play(game, run, config, device=device, progress=progress)
    return run.folder


def _load(config: CycleGANConfig, domain: Any, name: str) -> Tensor:
    least, what = max(2, config.batch_size), f"domain {name}"
    return load_images(domain, size=config.size, least=least, what=what, num=config.num_samples, **config.opening())


def _load_test(config: CycleGANConfig, spec: Any, name: str) -> Tensor:
    """Test images; of pairs twice as many, since one half stands for the target: counterparts are not independent."""
    number, least = (2 * config.num_test, 4) if config.paired_test else (config.num_test, 2)
    what = f"test images of domain {name}"
    images = load_images(spec, size=config.size, least=least, what=what, num_samples=number, **config.opening())
    return images[:number]


def _yardsticks(config: CycleGANConfig, a: Tensor, b: Tensor) -> Iterator[Yardstick]:
    """Yardsticks of a to b, and of b to a. Source and target must be two samples: counterparts are never in both."""
    settings = config.chosen("protocol", "metrics", "device")
    if not config.paired_test:
        yield Yardstick(a, b, **settings)
        yield Yardstick(b, a, **settings)
        return
    n = min(len(a), len(b)) // 2
    yield Yardstick(a[:n], b[n : 2 * n], pairs=b[:n], **settings)
    yield Yardstick(b[:n], a[n : 2 * n], pairs=a[:n], **settings)


def _describe(spec: Any, images: Tensor) -> dict[str, object]:
    named = "the first of the training images" if spec is None else public_name(spec)
    return {"spec": named, "n": len(images), "digest": digest_of(images)}
