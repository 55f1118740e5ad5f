"""What each network and each perceptual distance is, and how others are added. These facts stand here and nowhere else.

Nothing here imports PyTorch: the command line lists all of it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ganeval.errors import ConfigError
from ganeval.features import published
from ganeval.features.published import SPECS
from ganeval.features.types import Distance, Network
from ganeval.parsing.plugins import Registry

COMPACT_FILE = Path(__file__).with_name("compact-v1.safetensors")
_COMPACT_SHA256 = "8ab8d13c10d3fe3a2b59d2503dc1fdbe3ec72364de3f75f68044600a4cc1db60"

_INCEPTION = Network(
    name="inception-2015-12-05",
    widths={"64": 64, "192": 192, "768": 768, "2048": 2048, "logits": 1008, "logits_unbiased": 1008, "sfid": 2023},
    layers=("64", "192", "768", "2048"),
    taps={"logits": "logits_unbiased", "spatial": "sfid"},
    build="ganeval.features.inception:load_inception",
    weights=published.INCEPTION,
    per_thread=16,
    optimize="ganeval.features.packed:packed",
    is_fid=True,
)
_COMPACT = Network(
    name="compact-v1",
    widths={"256": 256, "logits-1": 10, "logits-6": 10},
    layers=("256",),
    taps={"logits": "logits-1"},
    other_logits=("logits-6",),
    build="ganeval.features.compact:load_compact",
    shipped=(COMPACT_FILE, _COMPACT_SHA256),
    cpu_batch=64,
    distance="compact",
    note=(
        "compact-v1 is a small network that sees texture and coarse shape only: no value under it is comparable with a "
        "published one"
    ),
)
_EFFICIENTNET = Network(
    name="efficientnet-lite0",
    widths={"112": 112, "320": 320, "1280": 1280, "logits": 1000},
    layers=("112", "1280", "320"),
    taps={"logits": "logits"},
    build="ganeval.features.efficientnet:load_efficientnet",
    weights=published.EFFICIENTNET_LITE0,
    per_thread=3,  # the maps of more are so large that the allocator returns their memory after every use
    optimize="ganeval.features.packed_efficientnet:packed",
    distance="lite",
    note="efficientnet-lite0 is not the network of the FID: no value under it is comparable with a published one",
)
_VGG16 = Network(
    name="vgg16-fc2",
    widths={"4096": 4096},
    layers=("4096",),
    build="ganeval.features.vgg16:load_vgg16",
    weights=published.VGG16,
    large_maps=True,
)
_TORCHVISION = Network(
    name="torchvision-inception-v3",
    widths={"2048": 2048, "logits": 1000},
    layers=("2048",),
    taps={"logits": "logits"},
    build="ganeval.features.torchvision_inception:load_torchvision_inception",
    weights=published.TORCHVISION_INCEPTION,
)
_DINOV2_L = Network(
    name="dinov2-vitl14",
    widths={"1024": 1024},
    layers=("1024",),
    build="ganeval.features.dinov2:load_dinov2",
    options={"architecture": "vit_large_patch14_dinov2"},
    weights=published.DINOV2_L,
    library=("timm", "dinov2"),
    cpu_batch=4,
    large_maps=True,
)
_DINOV2_B = replace(
    _DINOV2_L,
    name="dinov2-vitb14",
    widths={"768": 768},
    layers=("768",),
    options={"architecture": "vit_base_patch14_dinov2"},
    weights=published.DINOV2_B,
    cpu_batch=8,
)
_CLIP_L_336 = Network(
    name="clip-vitl14-336",
    widths={"768": 768},
    layers=("768",),
    build="ganeval.features.clip:load_clip",
    options={"image_size": 336, "patch_size": 14, "width": 1024, "layers": 24, "output_dim": 768},
    weights=published.CLIP_L_336,
    library=("open_clip", "clip"),
    cpu_batch=2,
    large_maps=True,
)
_CLIP_B_32 = replace(
    _CLIP_L_336,
    name="clip-vitb32",
    widths={"512": 512},
    layers=("512",),
    options={"image_size": 224, "patch_size": 32, "width": 768, "layers": 12, "output_dim": 512},
    weights=published.CLIP_B_32,
    cpu_batch=8,
)
_CLIP_L_14 = replace(
    _CLIP_L_336,
    name="clip-vitl14",
    options={**_CLIP_L_336.options, "image_size": 224},
    weights=published.CLIP_L_14,
    cpu_batch=4,
)
_CLIP_B_16 = replace(
    _CLIP_B_32, name="clip-vitb16", options={**_CLIP_B_32.options, "patch_size": 16}, weights=published.CLIP_B_16
)
# a network of the user: its only layer is what it returns
_CUSTOM = Network(name="custom", user_model=True)

_CONVOLUTIONAL = (_INCEPTION, _COMPACT, _EFFICIENTNET, _VGG16, _TORCHVISION)
_CLIP = (_CLIP_L_336, _CLIP_L_14, _CLIP_B_32, _CLIP_B_16)
_NETWORKS = (*_CONVOLUTIONAL, _DINOV2_L, _DINOV2_B, *_CLIP, _CUSTOM)
NETWORKS: Registry[Network] = Registry(
    "networks", {network.name: network for network in _NETWORKS}, Network, lambda network: register(network)
)

_LPIPS = "ganeval.features.perceptual:load_lpips_distance"
# by the package's name of the network: the weights of its trunk, and the hash of the heads in lpips 0.1.4
_TRUNKS = {
    "vgg": (published.VGG16, "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
    "alex": (published.ALEXNET, "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
    "squeeze": (published.SQUEEZENET, "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"),
}
_DISTANCES = {
    **{
        (name := f"lpips-{net}"): Distance(
            name=name, network=name, load=_LPIPS, options={"net": net, "heads_sha256": heads}, weights=trunk
        )
        for net, (trunk, heads) in _TRUNKS.items()
    },
    "compact": Distance(name="compact", network="compact-v1", load="ganeval.features.perceptual:load_compact_distance"),
    "lite": Distance(
        name="lite",
        network="efficientnet-lite0",
        load="ganeval.features.perceptual:load_lite_distance",
        weights=published.EFFICIENTNET_LITE0,
    ),
}
DISTANCES: Registry[Distance] = Registry("distances", _DISTANCES, Distance, lambda distance: register(distance))


def register(declaration: Network | Distance) -> None:
    """Add a network or a perceptual distance to those known in this process.

    A protocol (``ganeval.protocol.register``) can then name the network, ``--distance`` and ``distance=`` the distance;
    `ganeval weights` knows their published files. Functions are imported when they are needed.

    Raises:
        ConfigError: the name, or that of the file of weights, is in use; or a network declares no weights, or a layer
            or tap without a width.
    """
    known = NETWORKS.data if isinstance(declaration, Network) else DISTANCES.data
    kind = type(declaration).__name__.lower()
    if declaration.name in known:
        raise ConfigError(f"The {kind} {declaration.name!r} exists already. Choose another name.")
    spec = declaration.weights
    if spec is not None and SPECS.get(spec.name, spec) != spec:
        raise ConfigError(f"Weights named {spec.name!r} exist already, and are another file. Choose another name.")
    if isinstance(declaration, Network):
        if (spec is None) == (declaration.shipped is None):
            raise ConfigError(f"The network {declaration.name!r} needs a file of weights: declare weights or shipped.")
        taps = (*declaration.layers, *declaration.taps.values())
        if not declaration.layers or set(taps) - set(declaration.widths):
            raise ConfigError(f"The network {declaration.name!r} needs layers, and the width of each layer and tap.")
        NETWORKS[declaration.name] = declaration
    else:
        DISTANCES[declaration.name] = declaration
    if spec is not None:
        SPECS[spec.name] = spec


def get_network(name: str) -> Network:
    """The declaration of a network.

    Raises:
        ConfigError: no such network; the message lists the known ones.
    """
    if name not in NETWORKS:
        raise ConfigError(f"Unknown network {name!r}. Available: {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def get_distance(name: str) -> Distance:
    """The declaration of a perceptual distance.

    Raises:
        ConfigError: no such distance; the message lists the known ones.
    """
    if name not in DISTANCES:
        raise ConfigError(f"Unknown perceptual distance {name!r}. Available: {', '.join(DISTANCES)}.")
    return DISTANCES[name]
