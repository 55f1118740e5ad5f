"""CycleGAN's game (Zhu, Park, Isola, Efros 2017): two translators, two discriminators, and no pairs.

    min over G, F, max over D_A, D_B:  L_GAN(G, D_B) + L_GAN(F, D_A) + cycle_weight (|F(G(a)) - a| + |G(F(b)) - b|)
                                       + identity_weight (|G(b) - b| + |F(a) - a|)

with least squares for L_GAN, L1 norms as means over pixels, a pool of old translations for the discriminators, Adam
(2e-4, beta1 0.5), and a rate that falls linearly to zero in the second half.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.generators.checkpoint import save_generator
from ganeval.generators.cyclegan import ImagePool, PatchDiscriminator, TranslationGenerator, default_patch
from ganeval.training.config import CycleGANConfig
from ganeval.training.hardware import autocast, gradient_norm, read, send
from ganeval.training.loop import Batches, Game, random_for
from ganeval.training.losses import EQUILIBRIUM, discriminator_loss, generator_loss, log_odds, minimax_value
from ganeval.training.pictures import Panel, judgement
from ganeval.training.translation import Yardstick, translator

LEAST_SQUARES = "least-squares"


def architecture(config: CycleGANConfig) -> dict[str, Any]:
    """Arguments of a ``TranslationGenerator``."""
    return config.chosen("width", "blocks", "skip")


def discriminator(config: CycleGANConfig) -> dict[str, Any]:
    """Arguments of a ``PatchDiscriminator``."""
    patch = default_patch(config.size) if config.patch is None else config.patch
    return {"width": config.discriminator_width, "patch": patch}


def learning_rate(step: int, steps: int, rate: float) -> float:
    """The rate of step ``step`` (from 0): constant in the first half, then linearly towards zero.

    >>> [learning_rate(step, 8, 1.0) for step in (0, 4, 6, 7)]
    [1.0, 1.0, 0.5, 0.25]
    """
    return rate * min(1.0, 2.0 * (1.0 - step / steps))


class CycleGame(Game):
    """Both translators against both discriminators.

    Args:
        batches: of the two domains.
        config: the options of the run.
        yardsticks: what measures a to b, and b to a.
        device: where the networks are.
        card: what the model cards say besides the history.
    """

    players = ("generators", "discriminators")
    panels = (
        Panel("what the players pay", {"generators": "generators, adversarial", "discriminators": "discriminators"}),
        Panel("V(D, G)", {"value_a": "domain a", "value_b": "domain b"}, (EQUILIBRIUM, "-log 4")),
        Panel("L1 errors", {"cycle": "cycle", "identity": "identity", "change": "translation - original"}),
        Panel("outputs of D", {"d_real": "on images", "d_fake": "on translations"}, (0.5, "cannot tell")),
        Panel("Frechet distance to the target domain", {"a2b_fd": "a to b", "b2a_fd": "b to a"}, None, "eval"),
        judgement("precision, recall, adversary: a to b", "a2b_"),
        judgement("precision, recall, adversary: b to a", "b2a_"),
        Panel("L1 to the true pair", {"a2b_pair_l1": "a to b", "b2a_pair_l1": "b to a"}, None, "eval"),
        Panel("gradient norms", {"gradient_generators": "generators", "gradient_discriminators": "discriminators"}),
    )

    def __init__(
        self,
        batches: tuple[Batches, Batches],
        config: CycleGANConfig,
        *,
        yardsticks: tuple[Yardstick, Yardstick],
        device: torch.device,
        card: Mapping[str, object],
    ) -> None:
        self.batches, self.config, self.yardsticks, self.device, self.card = batches, config, yardsticks, device, card
        kinds = ["translation", *(["true pair"] if yardsticks[0].pairs is not None else []), "and back"]
        self.caption = f"at the end: {'; '.join(', '.join([domain, *kinds]) for domain in config.names)}"
        self.images_per_step = 2 * batches[0].batch_size
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            self.generators = nn.ModuleDict({k: TranslationGenerator(**architecture(config)) for k in ("a2b", "b2a")})
            self.discriminators = nn.ModuleDict({k: PatchDiscriminator(**discriminator(config)) for k in ("a", "b")})
        self.prepare(device, torch.channels_last, rate=config.rate, average=config.average)
        self.pools = {k: ImagePool(config.pool_size, seed=config.seed + i) for i, k in enumerate(("a", "b"))}

    # --- one step ------------------------------------------------------------------------------------------------

    def step(self, step: int, *, measure: bool) -> dict[str, float]:
        """Update the translators, then the discriminators, each against the other's current weights."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, self.config.steps, self.config.rate)
        a, b = (send(batches.draw(step), self.device) for batches in self.batches)
        fake_a, fake_b, values = self._move_generators(step, a, b)
        values |= self._move_discriminators({"a": (a, fake_a), "b": (b, fake_b)})
        self.average.update(self.generators, step)
        if not measure:
            return {}
        values["gradient_generators"] = gradient_norm(self.generators)
        values["gradient_discriminators"] = gradient_norm(self.discriminators)
        return read(values)

    def _move_generators(self, step: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        config, a2b, b2a = self.config, self.generators["a2b"], self.generators["b2a"]
        noise = random_for(config.seed, step, "cycle noise")
        self.discriminators.requires_grad_(False)
        with autocast(self.device, self.config.precision):
            fake_b, fake_a = a2b(a), b2a(b)
            judged = generator_loss(self.discriminators["a"](fake_a).float(), LEAST_SQUARES)
            judged = judged + generator_loss(self.discriminators["b"](fake_b).float(), LEAST_SQUARES)
            identity_due = config.identity_weight > 0 and (step + 1) % config.identity_every == 0
            back_a, same_a = self._back(b2a, fake_b, a if identity_due else None, noise)
            back_b, same_b = self._back(a2b, fake_a, b if identity_due else None, noise)
        cycle = _l1(back_a, a) + _l1(back_b, b)
        loss = judged + config.cycle_weight * cycle
        # The log has means over both directions, L1 on [-1, 1]. The losses are sums.
        logged = {"generators": judged.detach(), "cycle": cycle.detach() / 2}
        if config.keep_weight:
            kept = _l1(fake_b, a) + _l1(fake_a, b)
            loss = loss + config.keep_weight * kept
            logged["change"] = kept.detach() / 2
        if same_a is not None and same_b is not None:
            identity = _l1(same_a, a) + _l1(same_b, b)
            loss = loss + config.identity_weight * config.identity_every * identity
            logged["identity"] = identity.detach() / 2
        self.move("generators", loss)
        self.discriminators.requires_grad_(True)
        return fake_a.detach().float(), fake_b.detach().float(), logged

    def _back(
        self, network: nn.Module, fake: Tensor, real: Tensor | None, noise: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Translations sent back, and the outputs of the same network for images of its own target domain.

        One pass serves both: instance normalisation does not mix the images of a batch.
        """
        through = self.config.cycle_through
        if through < 1:
            stopped = fake.detach()
            fake = stopped + through * (fake - stopped) if through else stopped
        if self.config.cycle_noise:
            drawn = send(torch.randn(fake.shape, generator=noise, device="cpu"), self.device)
            fake = fake + self.config.cycle_noise * drawn
        if real is None:
            return network(_channels_last(fake)), None
        back, same = network(_channels_last(torch.cat([fake, real.to(fake.dtype)]))).chunk(2)
        return back, same

    def _move_discriminators(self, domains: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        losses, outputs = [], []
        for name, (real, fake) in domains.items():
            shown = _channels_last(torch.cat([real, self.pools[name].exchange(fake)]))
            with autocast(self.device, self.config.precision):
                on_real, on_fake = self.discriminators[name](shown).float().chunk(2)
            losses.append(discriminator_loss(on_real, on_fake, LEAST_SQUARES))
            outputs.append((on_real.detach(), on_fake.detach()))
            odds = [log_odds(logits.detach(), LEAST_SQUARES) for logits in (on_real, on_fake)]
            values[f"value_{name}"] = minimax_value(*odds)
        loss = losses[0] + losses[1]
        self.move("discriminators", loss)
        values["discriminators"] = loss.detach()
        values["d_real"], values["d_fake"] = (torch.stack([o[i].mean() for o in outputs]).mean() for i in (0, 1))
        return values

    # --- what the loop asks for ----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {**super().state(), "pools": {name: pool.state_dict() for name, pool in self.pools.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        for name, pool in self.pools.items():
            pool.load_state_dict(state["pools"][name], self.device)

    def grid(self) -> tuple[Tensor, int]:
        """Each row shows a, its translation, its true pair if known, and its way back; then the same of b."""
        a2b, b2a = (translator(self._averaged(k)) for k in ("a2b", "b2a"))
        columns: list[Tensor] = []
        for there, back, yardstick in ((a2b, b2a, self.yardsticks[0]), (b2a, a2b, self.yardsticks[1])):
            shown = yardstick.source[:8]
            made = there(shown)
            columns += [shown, made, *([] if yardstick.pairs is None else [yardstick.pairs[:8]]), back(made)]
        least = min(map(len, columns))
        return torch.stack([c[:least] for c in columns], dim=1).flatten(0, 1), len(columns)

    def evaluate(self, *, final: bool) -> dict[str, object]:
        a2b, b2a = (translator(self._averaged(k)) for k in ("a2b", "b2a"))
        results = {"a2b": self.yardsticks[0](a2b, b2a), "b2a": self.yardsticks[1](b2a, a2b)}
        return {f"{name}_{key}": value for name, result in results.items() for key, value in result.to_dict().items()}

    def export(self, folder: Path, history: Mapping[str, object]) -> None:
        """Write ``a2b.safetensors`` and ``b2a.safetensors`` in float16, each with a card."""
        a, b = self.config.names
        for name, domains in (("a2b", [a, b]), ("b2a", [b, a])):
            card = {"value_range": [-1, 1], **self.card, "direction": name, "domains": domains, **history}
            save_generator(folder / f"{name}.safetensors", self._averaged(name), "cyclegan", card)

    def _averaged(self, name: str) -> TranslationGenerator:
        networks: Any = self.average.module
        network: TranslationGenerator = networks[name]
        return network


def _l1(images: Tensor, others: Tensor) -> Tensor:
    return (images.float() - others).abs().mean()


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
