"""What this package adds to ganeval. Nothing here imports PyTorch: the functions are imported when they are used."""

from __future__ import annotations

from pathlib import Path

from ganeval.features.types import Distance, Network
from ganeval.images.registry import SourceKind
from ganeval.metrics.registry import Metric
from ganeval.protocol import Protocol

_HERE = __name__

METRIC = Metric(
    name="mean-shift",
    title="Squared distance between the mean features of real and of generated images",
    acronym="mean shift",
    higher_is_better=False,
    minimum=2,
    measure=f"{_HERE}.metric:measure",
    citation="@misc{mean-shift, title = {The mean term of the Frechet distance}}",
)
NETWORK = Network(
    name="colours",
    widths={"3": 3},
    layers=("3",),
    build=f"{_HERE}.network:build",
    shipped=(
        Path(__file__).with_name("colours.safetensors"),
        "3c632da9d02f936290616cd06dd052603b85b5454429993e58e675700f754bab",
    ),
)
PROTOCOL = Protocol(name="colours", extractor="colours", layer="3", resize="pil-bicubic-float", size=8, scale="x/255")
DISTANCE = Distance(name="pixels", network="pixels", load=f"{_HERE}.network:load_pixels")
SOURCE = SourceKind("noise", f"{_HERE}.source:open_noise")
