"""Train a DCGAN: the adversarial game as its paper plays it, with an average of the generator at the end.

``train_dcgan("images/", "run/")`` or ``ganeval train dcgan --data images/ --output run/``. The folder gets the log
(``log.jsonl``), sample grids, one checkpoint, and at the end ``generator.safetensors`` (float16) with its card
``generator.json``, and the figure of the game.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ganeval.arithmetic import plain_defaults
from ganeval.engine.config import ProgressFactory
from ganeval.errors import ConfigError
from ganeval.features.devices import choose_device
from ganeval.files import write_text, written_whole
from ganeval.generators.dcgan import Discriminator, Generator, check_architecture, initialise
from ganeval.images.user_models import keep_random_states
from ganeval.training.checkpoints import restore_optimiser
from ganeval.training.hardware import adam, autocast, gradient_norm, read, require_precision, send
from ganeval.training.judge import Judge, public_name
from ganeval.training.loop import (
    Average,
    Batches,
    Game,
    Schedule,
    digest_of,
    load_images,
    play,
    random_for,
    require_decay,
    to_uint8,
)
from ganeval.training.losses import (
    EQUILIBRIUM,
    discriminator_loss,
    generator_loss,
    log_odds,
    minimax_value,
    require_loss,
)
from ganeval.training.pictures import Panel, judgement
from ganeval.training.runs import open_run

_PANELS = (
    Panel("cost of each player", {"d_cost": "discriminator", "g_cost": "generator"}),
    Panel("value of the game V(D, G)", {"value": "V(D, G)"}, (EQUILIBRIUM, "-log 4, the equilibrium")),
    Panel("verdicts of the discriminator", {"d_real": "D(x)", "d_fake": "D(G(z))"}, (0.5, "1/2, the equilibrium")),
    Panel("gradient norms", {"d_gradient": "discriminator", "g_gradient": "generator"}, logarithmic=True),
    Panel("Frechet distance of the averaged generator", {"fd": "FD"}, kind="eval", logarithmic=True),
    judgement("precision, recall, adversary"),
)
_GRID = 64
_CALIBRATION = (10, 100)  # batches and images in each


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What changes the numbers, besides data and architecture."""

    batch_size: int = 128
    loss: str = "non-saturating"
    learning_rate: float = 2e-4
    beta1: float = 0.5
    average: float = 0.999
    flip: bool = False
    precision: str = "float32"
    channels_last: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        require_loss(self.loss)
        require_precision(self.precision)
        if not self.learning_rate > 0:
            raise ConfigError(f"--learning-rate must be above 0; got {self.learning_rate}.")
        if not 0 <= self.beta1 < 1:
            raise ConfigError(f"beta1 is at least 0 and below 1; got {self.beta1}.")
        require_decay(self.average)
        if self.batch_size < 2:
            raise ConfigError(f"batch normalisation needs a --batch-size of at least 2; got {self.batch_size}.")


class DCGANGame(Game):
    """A DCGAN at play on images in memory.

    Args:
        images: uint8 (N, channels, size, size).
        architecture: arguments of the ``Generator``.
        recipe: how they play.
        device: where.
        judge: the metrics.
        samples: images in an evaluation, and in the last one.
        about: what the card says of the data.
    """

    panels = _PANELS

    def __init__(
        self, images: Tensor, architecture: Mapping[str, int], recipe: Recipe, *, device: torch.device, judge: Judge,
        samples: tuple[int, int], about: Mapping[str, object],
    ) -> None:  # fmt: skip
        self.recipe, self.device, self.judge, self.samples, self.about = recipe, device, judge, samples, about
        self.images_per_step = recipe.batch_size
        self.batches = Batches(images, recipe.batch_size, recipe.seed, flip=recipe.flip)
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.generator = Generator(**architecture)
        self.discriminator = Discriminator(**{k: v for k, v in architecture.items() if k != "latent_dim"})
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            initialise(network, random_for(recipe.seed, 0, name))
            network.to(device).to(memory_format=layout)
        self.average = Average(self.generator, recipe.average)
        self.optimisers = {
            name: adam(network.parameters(), recipe.learning_rate, recipe.beta1, device)
            for name, network in (("generator", self.generator), ("discriminator", self.discriminator))
        }

    def step(self, step: int, *, measure: bool) -> dict[str, float]:
        """The discriminator moves on real and fake images, then the generator against the moved discriminator."""
        recipe, d, g = self.recipe, self.discriminator.train(), self.generator.train()
        real = send(self.batches.draw(step), self.device)
        z = self._latents(recipe.batch_size, random_for(recipe.seed, step, "latents"))
        with autocast(self.device, recipe.precision):
            fake = g(z)
            real_logits, fake_logits = d(real), d(fake.detach())
        d_cost = discriminator_loss(real_logits.float(), fake_logits.float(), recipe.loss)
        self._move("discriminator", d_cost)
        d.requires_grad_(False)  # the generator's cost moves the generator alone
        with autocast(self.device, recipe.precision):
            verdict = d(fake)
        g_cost = generator_loss(verdict.float(), recipe.loss)
        self._move("generator", g_cost)
        d.requires_grad_(True)
        self.average.update(g, step)
        if not measure:
            return {}
        real_odds, fake_odds = (log_odds(x.detach().float(), recipe.loss) for x in (real_logits, fake_logits))
        measured = {
            "d_cost": d_cost,
            "g_cost": g_cost,
            "value": minimax_value(real_odds, fake_odds),
            "d_real": real_odds.sigmoid().mean(),
            "d_fake": fake_odds.sigmoid().mean(),
            "d_gradient": gradient_norm(d),
            "g_gradient": gradient_norm(g),
        }
        return read(measured)

    def _move(self, player: str, cost: Tensor) -> None:
        optimiser = self.optimisers[player]
        optimiser.zero_grad(set_to_none=True)
        cost.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def _latents(self, n: int, random: torch.Generator) -> Tensor:
        return send(torch.randn(n, self.generator.latent_dim, generator=random, device="cpu"), self.device)

    def state(self) -> dict[str, Any]:
        networks = {"generator": self.generator, "discriminator": self.discriminator, "average": self.average.module}
        return {
            **{name: network.state_dict() for name, network in networks.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.average.module.load_state_dict(state["average"])
        for name, optimiser in self.optimisers.items():
            restore_optimiser(optimiser, state["optimisers"][name])

    def snapshot(self) -> Generator:
        """The averaged generator, with the statistics of normalisation that its own weights give.

        The average of running statistics belongs to no single set of weights, so they are measured anew.
        """
        network: Generator = copy.deepcopy(self.average.module)  # type: ignore[assignment]
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        random = random_for(self.recipe.seed, 0, "calibration")
        network.train()
        with torch.no_grad():
            for _ in range(_CALIBRATION[0]):
                network(self._latents(_CALIBRATION[1], random))
        for norm in norms:
            norm.momentum = 0.1
        return network.eval()

    def grid(self) -> tuple[Tensor, int]:
        with torch.no_grad():
            z = self._latents(_GRID, random_for(self.recipe.seed, 0, "grid"))
            return to_uint8(self.snapshot()(z)).cpu(), 8

    def evaluate(self, *, final: bool) -> dict[str, object]:
        return self.judge(self.snapshot(), num_samples=self.samples[final], value_range=Generator.value_range)

    def export(self, folder: Path, history: Mapping[str, object]) -> None:
        network = self.snapshot()
        save_generator(
            folder / "generator.safetensors",
            network,
            {
                "data": self.about,
                "recipe": {**asdict(self.recipe), "optimiser": "Adam, beta2 0.999"},
                "seed": self.recipe.seed,
                "evaluation": {**self.judge.describe(), "protocol_key": self.judge.protocol_key},
                **history,
            },
        )


def save_generator(path: Path, network: Generator, card: Mapping[str, object]) -> None:
    """Write ``path`` (float16 safetensors) and, beside it, the card that tells how to build and use the network."""
    state = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    with written_whole(path) as temporary:
        temporary.write_bytes(save(state))
    fields = {
        "schema": "ganeval-generator/1",
        "model": "dcgan",
        "arguments": network.arguments,
        "latent_dim": network.latent_dim,
        "value_range": list(network.value_range),
        "parameters": sum(p.numel() for p in network.parameters()),
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **card,
    }
    write_text(path.with_suffix(".json"), json.dumps(fields, indent=2) + "\n")


@keep_random_states()
@plain_defaults()
def train_dcgan(
    data: Any,
    output: str | Path,
    *,
    size: int = 32,
    channels: int = 3,
    latent_dim: int = 100,
    width: int = 64,
    steps: int = 20_000,
    batch_size: int = 128,
    loss: str = "non-saturating",
    learning_rate: float = 2e-4,
    average: float = 0.999,
    flip: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    channels_last: bool = True,
    num_samples: int | None = None,
    log_every: int = 20,
    sample_every: int = 1000,
    eval_every: int = 2000,
    eval_samples: int = 2000,
    final_samples: int = 10_000,
    eval_reference: Any = None,
    protocol: str = "compact",
    metrics: Sequence[str] | None = None,
    checkpoint_every: int = 500,
    max_minutes: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    value_range: tuple[float, float] | None = None,
    on_error: str = "stop",
    data_root: str | Path | None = None,
    download: bool = False,
    progress: ProgressFactory | None = None,
) -> Path:
    """Train a DCGAN and export its averaged generator.

    Args:
        data: whatever ``open_images`` takes. The images are held in memory, as bytes.
        output: a folder of this run alone.
        size: of the images, 32, 64 or 128; others are cropped to a square and resized.
        channels: 3, or 1 for grey.
        latent_dim: of z.
        width: channels of the widest layers are a multiple of it; the paper has 128.
        steps: updates of each player.
        batch_size: real images, and fake ones, in a step.
        loss: one of ``ganeval.training.losses.LOSSES``.
        learning_rate: of Adam, both players; beta1 is 0.5.
        average: decay of the exponential average of the generator.
        flip: mirror the real images by chance.
        seed: of everything random; a run repeats bit for bit on one machine at one thread count.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``float32``; ``bf16`` for mixed precision; ``tf32``, on CUDA alone, for products of 10 bits.
        channels_last: memory layout of the networks; faster where convolutions are.
        num_samples: a seeded subset of the data; of rendered images, how many.
        log_every, sample_every, eval_every, checkpoint_every: in steps; 0 switches samples or evaluations off.
        eval_samples: generated images in an evaluation on the schedule.
        final_samples: generated images in the evaluation at the end.
        eval_reference: statistics or images to compare with; by default the training images.
        protocol: of the evaluations.
        metrics: of the evaluations, by name; by default ``ganeval.training.judge.METRICS``, as far as the reference and
            the number of images serve them.
        max_minutes: end this long after the first step, with everything that belongs to an end; can be resumed.
        resume: go on with the run in ``output``; may be asked for more steps than before.
        overwrite: replace the run in ``output``.
        value_range, data_root, download: of ``open_images``, for the data.
        on_error: ``stop`` at an unreadable file, or ``skip`` it, with a note.
        progress: called with what is done and the number of images, returns a progress display.

    Returns:
        The file ``generator.safetensors``; its card is beside it.

    Raises:
        ConfigError: an architecture, a loss or numbers that cannot be.
        InputError: images that cannot be used, too few of them, or a folder that holds something else.
    """
    architecture = {"size": size, "channels": channels, "latent_dim": latent_dim, "width": width}
    check_architecture(**architecture)
    recipe = Recipe(
        batch_size=batch_size, loss=loss, learning_rate=learning_rate, average=average, flip=flip,
        precision=precision, channels_last=channels_last, seed=seed,
    )  # fmt: skip
    schedule = Schedule(
        steps=steps, log_every=log_every, sample_every=sample_every, eval_every=eval_every,
        checkpoint_every=checkpoint_every, max_minutes=max_minutes,
    )  # fmt: skip
    torch_device = choose_device(device)
    require_precision(precision, torch_device)
    images = load_images(
        data, size=size, channels=channels, least=batch_size, num=num_samples, seed=seed, value_range=value_range,
        data_root=data_root, download=download, on_error=on_error,
    )  # fmt: skip
    about = {"name": public_name(data), "n": len(images), "digest": digest_of(images)}
    judge = Judge(eval_reference, images, protocol=protocol, metrics=metrics, device=device, seed=seed)
    if eval_every:
        judge.reference()  # what is wrong with it is said now
    config = {
        "model": "dcgan", "architecture": architecture, **asdict(recipe), "data": about, "evaluation": judge.describe()
    }  # fmt: skip
    run = open_run(output, config, resume=resume, overwrite=overwrite)
    game = DCGANGame(
        images, architecture, recipe, device=torch_device, judge=judge, samples=(eval_samples, final_samples),
        about=about,
    )  # fmt: skip
    play(game, run, schedule, device=torch_device, precision=precision, progress=progress)
    return run.folder / "generator.safetensors"
