"""The losses of the two players: pure functions of the discriminator's outputs, computed from logits.

No logarithm is taken of a sigmoid: ``logsigmoid`` is exact where the sigmoid has rounded to 0 or 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu, softplus

from ganeval.errors import ConfigError
from ganeval.training.config import LOSSES

EQUILIBRIUM = -math.log(4.0)  # V(D, G) where the generator has become the data and D is 1/2 everywhere
_EDGE = 1e-4  # outputs of a least-squares discriminator may leave (0, 1), probabilities may not


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, kind: str = "non-saturating") -> Tensor:
    """The loss that the discriminator minimises.

    - ``minimax`` and ``non-saturating``: -V(D, G) = -E log D(x) - E log(1 - D(G(z))) (Goodfellow et al. 2014, eq. 1).
    - ``least-squares``: half of E (D(x) - 1)^2 + E D(G(z))^2 (Mao et al. 2017, eq. 9), on the outputs themselves.
    - ``hinge``: E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (Lim and Ye 2017), on the outputs themselves.

    Shape:
        Any two shapes (one output an image, or a map of them) -> scalar.

    Raises:
        ConfigError: the loss is unknown.

    >>> zeros = torch.zeros(4)
    >>> math.isclose(discriminator_loss(zeros, zeros).item(), -EQUILIBRIUM, rel_tol=1e-6)
    True
    """
    require_loss(kind)
    if kind == "least-squares":
        return 0.5 * ((real_logits - 1).square().mean() + fake_logits.square().mean())
    if kind == "hinge":
        return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def generator_loss(fake_logits: Tensor, kind: str = "non-saturating") -> Tensor:
    """The loss that the generator minimises.

    - ``minimax``: E log(1 - D(G(z))), which saturates where the discriminator wins.
    - ``non-saturating``: -E log D(G(z)) (Goodfellow et al. 2014, section 3).
    - ``least-squares``: E (D(G(z)) - 1)^2, as CycleGAN has it (twice Mao et al. 2017, eq. 9).
    - ``hinge``: -E D(G(z)).

    Shape:
        Any -> scalar.

    Raises:
        ConfigError: the loss is unknown.
    """
    require_loss(kind)
    if kind == "least-squares":
        return (fake_logits - 1).square().mean()
    if kind == "hinge":
        return -fake_logits.mean()
    if kind == "minimax":
        return -softplus(fake_logits).mean()
    return softplus(-fake_logits).mean()


def minimax_value(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The value of the game, V(D, G) = E log D(x) + E log(1 - D(G(z))), at D = sigmoid(logits).

    At most 0; -log 4 at the equilibrium; for the best D it is -log 4 + 2 JSD(data, model) (Goodfellow et al. 2014,
    theorem 1).

    Shape:
        Any two shapes -> scalar.
    """
    return logsigmoid(real_logits).mean() + logsigmoid(-fake_logits).mean()


def log_odds(outputs: Tensor, kind: str) -> Tensor:
    """Convert outputs of a discriminator to logits of a probability, so that all losses share ``minimax_value``.

    The optimum of the least-squares discriminator is the probability itself, here kept inside (0, 1). A hinge
    discriminator has no probability; its margin is taken for the logit, as its sign is.

    Shape:
        Any -> the same.
    """
    return torch.logit(outputs, eps=_EDGE) if kind == "least-squares" else outputs


def require_loss(kind: str) -> None:
    """Raise ConfigError unless ``kind`` is one of LOSSES."""
    if kind not in LOSSES:
        raise ConfigError(f"Unknown loss {kind!r}. Available: {', '.join(LOSSES)}.")
