"""Train a DCGAN: the adversarial game as its paper plays it, with an average of the generator at the end.

``train_dcgan("images/", "run/")`` or ``ganeval train dcgan --data images/ --output run/``. The folder gets the log
(``log.jsonl``), sample grids, one checkpoint, and at the end ``generator.safetensors`` (float16) with its card
``generator.json``, and the figure of the game.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.arithmetic import plain_defaults
from ganeval.engine.config import ProgressFactory
from ganeval.features.devices import choose_device
from ganeval.generators.checkpoint import save_generator
from ganeval.generators.dcgan import Discriminator, Generator, check_architecture, initialise
from ganeval.images.user_models import keep_random_states
from ganeval.training.augmentation import augment
from ganeval.training.config import DCGANConfig
from ganeval.training.hardware import autocast, gradient_norm, read, require_precision, send
from ganeval.training.judge import Judge, public_name, require_measurable
from ganeval.training.loop import Batches, Game, digest_of, load_images, luma, play, random_for, to_uint8
from ganeval.training.losses import EQUILIBRIUM, discriminator_loss, generator_loss, log_odds, minimax_value
from ganeval.training.pictures import Panel, judgement
from ganeval.training.runs import open_run

_GRID = 64
_CALIBRATION = (10, 100)  # batches and images in each


class DCGANGame(Game):
    """The game of a DCGAN on images in memory.

    Args:
        images: uint8 (N, channels, size, size).
        config: the options of the run.
        device: where the networks are.
        judge: measures the generator.
        about: what the card says about the data.
    """

    players = ("generator", "discriminator")
    panels = (
        Panel("cost of each player", {"d_cost": "discriminator", "g_cost": "generator"}),
        Panel("value of the game V(D, G)", {"value": "V(D, G)"}, (EQUILIBRIUM, "-log 4, the equilibrium")),
        Panel("verdicts of the discriminator", {"d_real": "D(x)", "d_fake": "D(G(z))"}, (0.5, "1/2, the equilibrium")),
        Panel("gradient norms", {"d_gradient": "discriminator", "g_gradient": "generator"}, logarithmic=True),
        Panel("Frechet distance of the averaged generator", {"fd": "FD"}, kind="eval", logarithmic=True),
        judgement("precision, recall, adversary"),
    )

    def __init__(
        self, images: Tensor, config: DCGANConfig, *, device: torch.device, judge: Judge, about: Mapping[str, object]
    ) -> None:
        self.config, self.device, self.judge, self.about = config, device, judge, about
        self.images_per_step = config.batch_size
        self.batches = Batches(images, config.batch_size, config.seed, flip=config.flip)
        self.generator = Generator(**architecture(config))
        self.discriminator = Discriminator(**architecture_of_discriminator(config))
        for name in self.players:
            initialise(getattr(self, name), random_for(config.seed, 0, name))
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.prepare(device, layout, rate=config.learning_rate, average=config.average)

    def step(self, step: int, *, measure: bool) -> dict[str, float]:
        """Update the discriminator on real and fake images, then the generator against the updated discriminator."""
        config, d, g = self.config, self.discriminator.train(), self.generator.train()
        real = send(self.batches.draw(step), self.device)
        z = self._latents(config.batch_size, random_for(config.seed, step, "latents"))
        with autocast(self.device, config.precision):
            fake = g(z)
        shown = [self._shown(images, step, name) for images, name in ((real, "real"), (fake.detach(), "fake"))]
        with autocast(self.device, config.precision):
            real_logits, fake_logits = map(d, shown)
        d_cost = discriminator_loss(real_logits.float(), fake_logits.float(), config.loss)
        self.move("discriminator", d_cost)
        d.requires_grad_(False)  # the generator's cost updates the generator alone
        with autocast(self.device, config.precision):
            verdict = d(self._shown(fake, step, "fake again"))
        g_cost = generator_loss(verdict.float(), config.loss)
        self.move("generator", g_cost)
        d.requires_grad_(True)
        self.average.update(g, step)
        if not measure:
            return {}
        real_odds, fake_odds = (log_odds(x.detach().float(), config.loss) for x in (real_logits, fake_logits))
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

    def _shown(self, images: Tensor, step: int, which: str) -> Tensor:
        """The images as the discriminator sees them."""
        config, random = self.config, random_for(self.config.seed, step, f"shown, {which}")
        if not config.augment and not config.instance_noise and not config.chroma_noise:
            return images
        images = images.float()
        if config.augment:
            images = augment(images, random)
        if config.instance_noise or config.chroma_noise:
            noise = torch.randn(images.shape, generator=random, device="cpu")
            if config.chroma_noise is None:
                noise = config.instance_noise * noise
            else:
                grey = luma(noise)
                noise = config.instance_noise * grey + config.chroma_noise * (noise - grey)
            images = images + send(noise, self.device)
        return images.contiguous(memory_format=torch.channels_last) if config.channels_last else images

    def _latents(self, n: int, random: torch.Generator) -> Tensor:
        return send(torch.randn(n, self.generator.latent_dim, generator=random, device="cpu"), self.device)

    def snapshot(self) -> Generator:
        """Copy the averaged generator, with the normalisation statistics of its own weights.

        The average of running statistics belongs to no single set of weights, so they are measured again.
        """
        network: Generator = copy.deepcopy(self.average.module)  # type: ignore[assignment]
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        random = random_for(self.config.seed, 0, "calibration")
        network.train()
        with torch.no_grad():
            for _ in range(_CALIBRATION[0]):
                network(self._latents(_CALIBRATION[1], random))
        for norm in norms:
            norm.momentum = 0.1
        return network.eval()

    def grid(self) -> tuple[Tensor, int]:
        with torch.no_grad():
            z = self._latents(_GRID, random_for(self.config.seed, 0, "grid"))
            return to_uint8(self.snapshot()(z)).cpu(), 8

    def evaluate(self, *, final: bool) -> dict[str, object]:
        samples = self.config.final_samples if final else self.config.eval_samples
        return self.judge(self.snapshot(), num_samples=samples, value_range=Generator.value_range)

    def export(self, folder: Path, history: Mapping[str, object]) -> None:
        network = self.snapshot()
        card = {
            "schema": "ganeval-generator/1",
            "latent_dim": network.latent_dim,
            "value_range": list(network.value_range),
            "parameters": sum(p.numel() for p in network.parameters()),
            "bytes": None,
            "data": self.about,
            "recipe": {**recipe(self.config), "optimiser": "Adam, beta2 0.999"},
            "seed": self.config.seed,
            "evaluation": {**self.judge.describe(), "protocol_key": self.judge.protocol_key},
            **history,
        }
        save_generator(folder / "generator.safetensors", network, "dcgan", card)


def architecture(config: DCGANConfig) -> dict[str, Any]:
    """Arguments of the ``Generator``."""
    return config.chosen("size", "channels", "latent_dim", "width")


def architecture_of_discriminator(config: DCGANConfig) -> dict[str, Any]:
    """Arguments of the ``Discriminator``."""
    width = config.width if config.discriminator_width is None else config.discriminator_width
    return {**config.chosen("size", "channels"), "width": width}


def recipe(config: DCGANConfig) -> dict[str, Any]:
    """The options that change the numbers, besides data and architecture."""
    players = ("batch_size", "loss", "learning_rate", "average")
    shown = ("flip", "augment", "instance_noise", "chroma_noise")
    width = architecture_of_discriminator(config)["width"]
    numbers = config.chosen(*players, *shown, "precision", "channels_last", "seed")
    return {**numbers, "discriminator_width": width, "beta1": 0.5}


@keep_random_states()
@plain_defaults()
def train_dcgan(data: Any, output: str | Path, *, progress: ProgressFactory | None = None, **options: Any) -> Path:
    """Train a DCGAN and export its averaged generator.

    Args:
        data: any source that ``open_images`` takes. The images are held in memory, as bytes.
        output: the folder of this run.
        progress: called with a title and the number of images, returns a progress display.
        options: the fields of ``ganeval.training.config.DCGANConfig``, as keyword arguments.

    Returns:
        The file ``generator.safetensors``; its card is next to it.

    Raises:
        ConfigError: an option is outside its limits, or does not suit the architecture or the device.
        InputError: the images cannot be used or are too few, or the folder holds something else.
    """
    config = DCGANConfig.of(options)
    arguments = architecture(config)
    check_architecture(**arguments)
    check_architecture(**architecture_of_discriminator(config), latent_dim=1, named="discriminator-width")
    device = choose_device(config.device)
    require_precision(config.precision, device)
    require_measurable(config)
    images = load_images(
        data,
        size=config.size,
        channels=config.channels,
        least=config.batch_size,
        num=config.num_samples,
        value_range=config.value_range,
        **config.opening(),
    )
    about = {"name": public_name(data), "n": len(images), "digest": digest_of(images)}
    judged = config.chosen("protocol", "metrics", "device", "seed")
    judge = Judge(config.eval_reference, images, **judged)
    if config.eval_every:
        judge.reference()  # an unusable reference is an error before the training, not after it
    described = {"architecture": arguments, **recipe(config), "data": about, "evaluation": judge.describe()}
    run = open_run(output, {"model": "dcgan", **described}, resume=config.resume, overwrite=config.overwrite)
    game = DCGANGame(images, config, device=device, judge=judge, about=about)
    play(game, run, config, device=device, progress=progress)
    return run.folder / "generator.safetensors"
