"""Loading a network: find its weights, check them, build it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from ganeval.download import sha256_of
from ganeval.errors import ConfigError, WeightsError
from ganeval.features.custom import load_custom
from ganeval.features.registry import get_network
from ganeval.features.types import LoadedNetwork, Network, NetworkSource, WeightSpec, resolve
from ganeval.features.weights import LocatedWeights, load_state_dict, locate, status
from ganeval.parsing.torchscript import load_torchscript
from ganeval.protocol import Protocol


def load_network(protocol: Protocol, device: torch.device, weights: NetworkSource | None) -> LoadedNetwork:
    """Load the network of a protocol, from ``weights`` or from where its own weights are found or fetched.

    Raises:
        WeightsError: no weights, damaged ones, or ones of another network.
        ConfigError: a library is not installed, or a network of the user is missing.
    """
    network = get_network(protocol.extractor)
    if network.user_model:
        if weights is None:
            raise ConfigError("A network of your own is given as a CustomNetwork, or with --network FILE.pt.")
        return load_custom(weights, protocol.size, device)
    assert weights is None or isinstance(weights, Path)
    if (missing := _missing_library(network)) is not None:  # before anything is fetched
        raise ConfigError(missing)
    located, warnings = find_weights(network, weights)
    module = resolve(network.build)(read_weights(network.weights, located), device=device, **network.options)
    return LoadedNetwork(module, network.widths, located.sha256, located.verified, warnings)


def find_weights(network: Network, path: Path | None = None) -> tuple[LocatedWeights, tuple[str, ...]]:
    """The file of a network's weights, and a warning unless it is the published or shipped one.

    Args:
        path: a file that the user names in its place.
    """
    if network.weights is None:
        return _shipped(network, path)
    located = locate(network.weights, path)
    return located, unverified(network.weights, located, " and are not FID" if network.is_fid else "")


def unverified(spec: WeightSpec, located: LocatedWeights, tail: str = "") -> tuple[str, ...]:
    """The warning about weights that are not known to be the published ones; none where they are."""
    if located.verified:
        return ()
    what = f"the weights in {located.path} are not the published ones (SHA-256 {located.sha256[:8]}...)"
    if spec.sha256 is None:
        what = f"nothing is on record by which {located.path} could be verified (SHA-256 {located.sha256[:8]}...)"
    return (f"{what}: values are labelled with that hash{tail}",)


def _shipped(network: Network, path: Path | None) -> tuple[LocatedWeights, tuple[str, ...]]:
    assert network.shipped is not None
    file, sha256 = network.shipped
    used = path or file
    if not used.is_file():
        raise WeightsError(f"Weights file not found: {used}. Leave it out to use the weights that ship with ganeval.")
    digest = sha256_of(used)
    if path is None and digest != sha256:
        raise WeightsError(f"{used} is not the file that ships with ganeval (SHA-256 {digest[:16]}...). Reinstall it.")
    verified = digest == sha256
    warnings = () if verified else (f"the weights in {used} are not those of {network.name} that ship with ganeval",)
    return LocatedWeights(used, digest, verified), warnings


def read_weights(spec: WeightSpec | None, located: LocatedWeights) -> Mapping[str, Tensor]:
    """The tensors of a file; code is run only of a TorchScript archive that its hash proves to be the published one.

    Raises:
        WeightsError: damaged, not a dictionary of tensors, or code of unknown origin.
    """
    if spec is not None and spec.torchscript and located.verified:
        return dict(load_torchscript(located.path, "Fetch it again.").state_dict())
    return load_state_dict(located.path)


def published_sha256(extractor: str) -> str:
    """SHA-256 of the weights that a network's name stands for, without loading them."""
    network = get_network(extractor)
    sha256 = network.weights.sha256 if network.weights else network.shipped[1] if network.shipped else None
    if sha256 is None:
        raise WeightsError(f"No hash of the published weights of {extractor} is known. Use images, not statistics.")
    return sha256


def why_unavailable(extractor: str, given: Collection[str] = ()) -> str | None:
    """Why a network cannot be loaded without fetching or installing anything; None if it can.

    Args:
        given: the networks for which a file of weights was named.
    """
    network = get_network(extractor)
    if (missing := _missing_library(network)) is not None:
        return missing
    spec = network.weights
    if spec is None or extractor in given or status(spec).present:
        return None
    return f"the weights of {extractor} are not on this machine ({spec.command})"


def _missing_library(network: Network) -> str | None:
    if network.library is None or find_spec(network.library[0]) is not None:
        return None
    return f"{network.name} needs a library that is not installed: pip install 'ganeval[{network.library[1]}]'"
