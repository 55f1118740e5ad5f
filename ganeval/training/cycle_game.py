"""CycleGAN's game (Zhu, Park, Isola, Efros 2017): two translators, two discriminators, and no pairs.

    min over G, F, max over D_A, D_B:  L_GAN(G, D_B) + L_GAN(F, D_A) + cycle_weight (|F(G(a)) - a| + |G(F(b)) - b|)
                                       + identity_weight (|G(b) - b| + |F(a) - a|)

with least squares for L_GAN, L1 norms as means over pixels, a pool of old translations for the discriminators, Adam
(2e-4, beta1 0.5), and a rate that falls linearly to zero in the second half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.errors import ConfigError
from ganeval.generators.checkpoint import save_generator
from ganeval.generators.cyclegan import ImagePool, PatchDiscriminator, TranslationGenerator, require_positive
from ganeval.training.checkpoints import restore_optimiser
from ganeval.training.hardware import adam, autocast, gradient_norm, read, send
from ganeval.training.loop import Average, Batches, Game, random_for
from ganeval.training.losses import EQUILIBRIUM, discriminator_loss, generator_loss, log_odds, minimax_value
from ganeval.training.pictures import Panel, judgement
from ganeval.training.translation import Yardstick, translator

LEAST_SQUARES = "least-squares"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that makes two runs on the same images the same, but for size, steps and batch size.

    Attributes:
        cycle_weight: of the cycle loss; the paper's lambda is 10.
        identity_weight: of the identity loss; the paper's is half of lambda. 0 saves its computation.
        identity_every: steps from one with an identity loss, so many times heavier, to the next; 1 in the paper.
        pool_size: translations that each discriminator's pool holds.
        rate: Adam's learning rate in the first half.
        cycle_noise: standard deviation, on [-1, 1], of noise on a translation before it goes back, which erases
            messages that the two translators hide from the discriminators (Chu et al. 2017); the paper has none.
        cycle_through: share of the cycle loss's gradient that passes back through the first of the two translators; 1
            in the paper. At 0 each learns to undo the other, and none to leave hints.
        keep_weight: of the mean |G(a) - a| + |F(b) - b|: change no more than the game asks for, as the paper of the
            image pool has it (Shrivastava et al. 2017, self-regularisation); CycleGAN's has none. It anchors colours.
        average: decay of the average of the translators that is evaluated and exported.
    """

    cycle_weight: float = 10.0
    identity_weight: float = 5.0
    identity_every: int = 1
    pool_size: int = 50
    rate: float = 2e-4
    cycle_noise: float = 0.0
    cycle_through: float = 1.0
    keep_weight: float = 0.0
    average: float = 0.999

    def __post_init__(self) -> None:
        for name in ("cycle_weight", "identity_weight", "cycle_noise", "keep_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is a number from 0 on; got {getattr(self, name)}.")
        require_positive(identity_every=self.identity_every)
        if not 0 <= self.cycle_through <= 1:
            raise ConfigError(f"cycle_through is a share from 0 to 1; got {self.cycle_through}. The paper's is 1.")
        if not 0 <= self.average < 1:
            raise ConfigError(f"the decay of the average is at least 0 and below 1; got {self.average}.")
        if not 0 < self.rate < 1:
            raise ConfigError(f"the learning rate lies between 0 and 1; got {self.rate}. The paper's is 2e-4.")


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
        generator: arguments of ``TranslationGenerator``.
        discriminator: arguments of ``PatchDiscriminator``.
        recipe: weights of the losses, and the rest.
        steps: of the whole run, for the learning rate.
        yardsticks: what measures a to b, and b to a.
        seed: of first weights, pools and noise.
        device: where the networks are.
        precision: one of ``ganeval.training.PRECISIONS``.
        domains: their names.
        card: what the model cards tell beside the history.
    """

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
        self, batches: tuple[Batches, Batches], *, generator: dict[str, Any], discriminator: dict[str, Any],
        recipe: Recipe, steps: int, yardsticks: tuple[Yardstick, Yardstick], seed: int, device: torch.device,
        precision: str, domains: tuple[str, str], card: Mapping[str, object],
    ) -> None:  # fmt: skip
        self.batches, self.recipe, self.steps, self.yardsticks = batches, recipe, steps, yardsticks
        self.seed, self.device, self.precision = seed, device, precision
        self.domains, self.card = domains, dict(card)
        kinds = ["translation", *(["true pair"] if yardsticks[0].pairs is not None else []), "and back"]
        self.caption = f"at the end: {', '.join([domains[0], *kinds])}; {', '.join([domains[1], *kinds])}"
        self.images_per_step = 2 * batches[0].batch_size
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.generators = nn.ModuleDict({k: TranslationGenerator(**generator) for k in ("a2b", "b2a")})
            self.discriminators = nn.ModuleDict({k: PatchDiscriminator(**discriminator) for k in ("a", "b")})
        for networks in (self.generators, self.discriminators):
            networks.to(device).to(memory_format=torch.channels_last)
        self.average = Average(self.generators, recipe.average)
        self.pools = {k: ImagePool(recipe.pool_size, seed=seed + i) for i, k in enumerate(("a", "b"))}
        self.optimisers = {
            "generators": adam(self.generators.parameters(), recipe.rate, 0.5, device),
            "discriminators": adam(self.discriminators.parameters(), recipe.rate, 0.5, device),
        }

    # --- one step ------------------------------------------------------------------------------------------------

    def step(self, step: int, *, measure: bool) -> dict[str, float]:
        """The translators move, then the discriminators; each is judged by the other's weights, and moves its own."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, self.steps, self.recipe.rate)
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
        recipe, a2b, b2a = self.recipe, self.generators["a2b"], self.generators["b2a"]
        noise = random_for(self.seed, step, "cycle noise")
        self.discriminators.requires_grad_(False)
        with autocast(self.device, self.precision):
            fake_b, fake_a = a2b(a), b2a(b)
            judged = generator_loss(self.discriminators["a"](fake_a).float(), LEAST_SQUARES)
            judged = judged + generator_loss(self.discriminators["b"](fake_b).float(), LEAST_SQUARES)
            identity_due = recipe.identity_weight > 0 and (step + 1) % recipe.identity_every == 0
            back_a, same_a = self._back(b2a, fake_b, a if identity_due else None, noise)
            back_b, same_b = self._back(a2b, fake_a, b if identity_due else None, noise)
        cycle = _l1(back_a, a) + _l1(back_b, b)
        loss = judged + recipe.cycle_weight * cycle
        # Logged are means over both directions: L1 on [-1, 1]. The losses are sums.
        logged = {"generators": judged.detach(), "cycle": cycle.detach() / 2}
        if recipe.keep_weight:
            kept = _l1(fake_b, a) + _l1(fake_a, b)
            loss = loss + recipe.keep_weight * kept
            logged["change"] = kept.detach() / 2
        if same_a is not None and same_b is not None:
            identity = _l1(same_a, a) + _l1(same_b, b)
            loss = loss + recipe.identity_weight * recipe.identity_every * identity
            logged["identity"] = identity.detach() / 2
        self.optimisers["generators"].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimisers["generators"].step()
        self.discriminators.requires_grad_(True)
        return fake_a.detach().float(), fake_b.detach().float(), logged

    def _back(
        self, network: nn.Module, fake: Tensor, real: Tensor | None, noise: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Translations sent back, and what the same network makes of images that are of its target domain already.

        One pass for both: instance normalisation keeps the images of a batch apart.
        """
        through = self.recipe.cycle_through
        if through < 1:
            stopped = fake.detach()
            fake = stopped + through * (fake - stopped) if through else stopped
        if self.recipe.cycle_noise:
            drawn = send(torch.randn(fake.shape, generator=noise, device="cpu"), self.device)
            fake = fake + self.recipe.cycle_noise * drawn
        if real is None:
            return network(_channels_last(fake)), None
        back, same = network(_channels_last(torch.cat([fake, real.to(fake.dtype)]))).chunk(2)
        return back, same

    def _move_discriminators(self, domains: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        losses, outputs = [], []
        for name, (real, fake) in domains.items():
            shown = _channels_last(torch.cat([real, self.pools[name].exchange(fake)]))
            with autocast(self.device, self.precision):
                on_real, on_fake = self.discriminators[name](shown).float().chunk(2)
            losses.append(discriminator_loss(on_real, on_fake, LEAST_SQUARES))
            outputs.append((on_real.detach(), on_fake.detach()))
            odds = [log_odds(logits.detach(), LEAST_SQUARES) for logits in (on_real, on_fake)]
            values[f"value_{name}"] = minimax_value(*odds)
        loss = losses[0] + losses[1]
        self.optimisers["discriminators"].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimisers["discriminators"].step()
        values["discriminators"] = loss.detach()
        values["d_real"], values["d_fake"] = (torch.stack([o[i].mean() for o in outputs]).mean() for i in (0, 1))
        return values

    # --- what the loop asks for ----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "generators": self.generators.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "average": self.average.module.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "pools": {name: pool.state_dict() for name, pool in self.pools.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.generators.load_state_dict(state["generators"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.average.module.load_state_dict(state["average"])
        for name, optimiser in self.optimisers.items():
            restore_optimiser(optimiser, state["optimisers"][name])
        for name, pool in self.pools.items():
            pool.load_state_dict(state["pools"][name], self.device)

    def grid(self) -> tuple[Tensor, int]:
        """A row shows a, its translation, its true pair where that is known, and its way back; then the same of b."""
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
        """``a2b.safetensors``, ``b2a.safetensors`` in float16, and a card of each."""
        a, b = self.domains
        for name, domains in (("a2b", [a, b]), ("b2a", [b, a])):
            card = {"value_range": [-1, 1], **self.card, "direction": name, "domains": domains, **history}
            save_generator(folder / f"{name}.safetensors", self._averaged(name), "cyclegan", card)

    def _averaged(self, name: str) -> TranslationGenerator:
        networks = self.average.module
        assert isinstance(networks, nn.ModuleDict)
        network = networks[name]
        assert isinstance(network, TranslationGenerator)
        return network


def _l1(images: Tensor, others: Tensor) -> Tensor:
    return (images.float() - others).abs().mean()


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
