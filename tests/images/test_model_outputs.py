"""What a model may return: images by any of the usual routes, or an error that says how to wrap it."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganeval.errors import InputError
from ganeval.images.model_outputs import to_image_array
from ganeval.images.module_search import find_attribute
from ganeval.images.user_models import describe_error

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
NCHW = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
PIL = [Image.fromarray(image) for image in IMAGES]


@pytest.mark.parametrize("made", [
    NCHW, IMAGES, PIL, tuple(PIL), list(NCHW), list(IMAGES), {"sample": NCHW}, {"images": PIL, "nsfw": [False, False]},
    {"x": NCHW, "loss": torch.zeros(())}, {"latents": torch.zeros(2, 4, 8, 8), "images": NCHW},
    types.SimpleNamespace(images=PIL), types.SimpleNamespace(sample=NCHW), types.SimpleNamespace(images=IMAGES),
])  # fmt: skip
def test_taken(made: Any) -> None:
    images, _ = to_image_array(made, 2, spec="g", what="latents")
    np.testing.assert_array_equal(np.asarray(images), NCHW.numpy())


@pytest.mark.parametrize(
    "wrap", [list, tuple, lambda made: {"images": made}, lambda made: types.SimpleNamespace(images=made)]
)
@pytest.mark.parametrize(
    "made", [[PIL[0], PIL[1].resize((9, 7))], [NCHW[0], NCHW[1, :, 1:]], [IMAGES[0], IMAGES[1] / 255]]
)
def test_images_of_several_sizes_or_types_are_told_as_that(wrap: Any, made: list[Any]) -> None:
    with pytest.raises(
        InputError, match=r"g returns images that differ in size or type: .*\(.*\), .*\).* Resize or convert"
    ):
        to_image_array(wrap(made), 2, spec="g", what="latents")


def test_alpha_of_pillow_images_is_counted() -> None:
    _, notes = to_image_array([image.convert("RGBA") for image in PIL], 2, spec="g", what="latents")
    assert sum(notes.values()) == 2


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            {"a": NCHW, "b": NCHW},
            r"returns a dict; expected .*, found the keys a, b. Wrap it, .* generator\(z\)\['a'\]",
        ),
        ({}, "found no keys"),
        (PIL[:1], r"returns a list; expected .*, found Image"),
        (torch.distributions.Normal(0, 1), "returns a Normal"),
        (types.SimpleNamespace(out=NCHW), r"lambda z: generator\(z\).out"),
        (torch.zeros(2, 4, 8, 8), "4 channels are latents"),
        (NCHW.permute(0, 2, 3, 1), "returns NHWC images"),
    ],
)
def test_refused_iv(made: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_image_array(made, 2, spec="g", what="latents")


def test_attributes_through_wrappers() -> None:
    class Own(torch.nn.Linear):
        latent_dim = 7

    own = Own(1, 1)
    for model in (own, torch.nn.DataParallel(own), own.forward, torch.compile(own, backend="eager")):
        assert find_attribute(model, "latent_dim") == 7
    assert find_attribute(lambda z: z, "latent_dim") is None


def test_the_reason_of_torchscript_and_the_end_of_long_messages() -> None:
    text = "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript:\n" + "x\n" * 300
    assert describe_error(RuntimeError(text + "RuntimeError: sizes differ\n")) == "RuntimeError: sizes differ"
    assert describe_error(ValueError("a" * 500 + " the reason")).endswith("the reason")
