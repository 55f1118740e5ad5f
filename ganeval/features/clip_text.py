"""CLIP's text side (Radford et al. 2021): captions to embeddings. Tokeniser and forward pass are open_clip's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ganeval.arithmetic import exact_float32, plain_defaults
from ganeval.errors import WeightsError
from ganeval.features.load_state import load_state
from ganeval.features.networks import find_weights, read_weights
from ganeval.features.types import Network

CONTEXT = 77  # tokens of a caption, those of its start and end included
_VOCABULARY = 49_408
_HEAD = 64  # channels of an attention head, in every published model
_BATCH = 64  # captions in one forward pass
_NOT_TEXT = ("visual.", "logit_scale", "input_resolution", "context_length", "vocab_size")


class TextEncoder:
    """Embeddings of captions, float32, of length 1.

    Args:
        network: the text side, (n, 77) tokens to (n, d).

    Attributes:
        cut: captions with more than 75 tokens of their own, of which the first 75 were used.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network, self._device = network.to(device), device
        self.cut: list[str] = []

    def __call__(self, captions: Sequence[str], progress: Callable[[int], object] = lambda n: None) -> Tensor:
        """The embedding of each caption, on the device.

        Shape:
            n captions -> (n, d)
        """
        found = []
        for start in range(0, len(captions), _BATCH):
            some = captions[start : start + _BATCH]
            tokens, cut = tokenize(some)
            self.cut += cut
            with plain_defaults(), exact_float32(self._device):
                found.append(normalize(self._network(tokens.to(self._device)), dim=1))
            progress(len(some))
        return torch.cat(found)


def tokenize(captions: Sequence[str]) -> tuple[Tensor, list[str]]:
    """The tokens of each caption, and the captions that were too long.

    A caption of more than 77 tokens keeps its start and end tokens, and the first 75 of its own.

    Shape:
        n captions -> int64 (n, 77), padded with zeros.
    """
    tokenizer, cut = _tokenizer(), []
    tokens = torch.zeros(len(captions), CONTEXT, dtype=torch.long, device="cpu")
    for row, caption in zip(tokens, captions, strict=True):
        own = tokenizer.encode(caption)
        if len(own) > CONTEXT - 2:
            cut.append(caption)
        whole = [tokenizer.sot_token_id, *own[: CONTEXT - 2], tokenizer.eot_token_id]
        row[: len(whole)] = torch.tensor(whole, device="cpu")
    return tokens, cut


def load_text_encoder(network: Network, device: torch.device, weights: Path | None = None) -> TextEncoder:
    """The text side of one of CLIP's networks, from the file that also has its image side.

    Args:
        weights: a file in place of the published one.

    Raises:
        WeightsError: no weights, damaged ones, or a file without a text side.
    """
    located, _ = find_weights(network, weights)
    return TextEncoder(load_clip_text(read_weights(network.weights, located)), device)


@plain_defaults()
def load_clip_text(state_dict: Mapping[str, Tensor]) -> nn.Module:
    """The text side with the given weights, under the names of the published files; its shape is that of the weights.

    Shape: int64 (N, 77) tokens -> float32 (N, d), not normalised.

    Args:
        state_dict: of the whole model; the image side is left out.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    from open_clip.transformer import QuickGELU, TextTransformer

    text = {key: tensor for key, tensor in state_dict.items() if not key.startswith(_NOT_TEXT)}
    projection = text.get("text_projection")
    if projection is None or projection.ndim != 2:
        raise WeightsError(
            "These weights have no text side: text_projection is missing. Use a file of the whole network of CLIP."
        )
    width, output_dim = projection.shape
    layers = len({key.split(".")[2] for key in text if key.startswith("transformer.resblocks.")})

    def build() -> nn.Module:
        network: nn.Module = TextTransformer(
            context_length=CONTEXT,
            vocab_size=_VOCABULARY,
            width=width,
            heads=max(1, width // _HEAD),
            layers=layers,
            output_dim=output_dim,
            act_layer=QuickGELU,
        )
        return network

    return _with_mask(load_state(build, text, "CLIP's text side"))


def _with_mask(network: Any) -> nn.Module:
    """The network with its causal mask: it is no weight, so building without memory leaves it empty."""
    network.register_buffer("attn_mask", torch.full((CONTEXT, CONTEXT), -torch.inf).triu_(1), persistent=False)
    return network  # type: ignore[no-any-return]


@cache
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()
