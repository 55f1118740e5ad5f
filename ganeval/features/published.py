"""The files of weights that ganeval knows: where they are published, their hashes, sizes and licences.

``verified`` is said of a file only if all 64 digits of its SHA-256 are the ones that stand here. They come from public
records: many that agree for Inception, VGG16, AlexNet, DINOv2 and CLIP ViT-B/32, one for SqueezeNet and for CLIP
ViT-L/14 at 336 pixels (its own address). Where there is none, a file is never called verified.
"""

from __future__ import annotations

from ganeval.features.types import WeightSpec

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

VGG16 = WeightSpec(
    name="vgg16",
    filename="vgg16-397923af.pth",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    bytes=553_433_881,
    licence="BSD-3-Clause",
    what="the VGG16 weights of torchvision",
)

ALEXNET = WeightSpec(
    name="alexnet",
    filename="alexnet-owt-7be5be79.pth",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    bytes=244_408_911,
    licence="BSD-3-Clause",
    what="the AlexNet weights of torchvision",
)

SQUEEZENET = WeightSpec(
    name="squeezenet1_1",
    filename="squeezenet1_1-b8a52dc0.pth",
    url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    sha256="b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    bytes=4_958_839,
    licence="BSD-3-Clause",
    what="the SqueezeNet weights of torchvision",
)

TORCHVISION_INCEPTION = WeightSpec(
    name="torchvision-inception-v3",
    filename="inception_v3_google-0cc3c7bd.pth",
    url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
    sha256=None,  # only the eight digits in its name are on record
    bytes=None,
    licence="BSD-3-Clause",
    what="the Inception-v3 weights of torchvision",
)

DINOV2_L = WeightSpec(
    name="dinov2-vitl14",
    filename="dinov2_vitl14_pretrain.pth",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
    sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
    bytes=1_217_586_395,
    licence="Apache-2.0",
    what="the weights of DINOv2 ViT-L/14",
)

DINOV2_B = WeightSpec(
    name="dinov2-vitb14",
    filename="dinov2_vitb14_pretrain.pth",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
    sha256="0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    bytes=346_378_731,
    licence="Apache-2.0",
    what="the weights of DINOv2 ViT-B/14",
)

_CLIP = "https://openaipublic.azureedge.net/clip/models"

CLIP_L_336 = WeightSpec(
    name="clip-vitl14-336",
    filename="ViT-L-14-336px.pt",
    url=f"{_CLIP}/3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02/ViT-L-14-336px.pt",
    sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    bytes=None,
    licence="MIT",
    what="the weights of CLIP ViT-L/14 at 336 pixels",
    torchscript=True,
)

CLIP_B_32 = WeightSpec(
    name="clip-vitb32",
    filename="ViT-B-32.pt",
    url=f"{_CLIP}/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
    sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    bytes=353_976_522,
    licence="MIT",
    what="the weights of CLIP ViT-B/32",
    torchscript=True,
)

SPECS: dict[str, WeightSpec] = {
    spec.name: spec
    for spec in (
        INCEPTION,
        VGG16,
        ALEXNET,
        SQUEEZENET,
        TORCHVISION_INCEPTION,
        DINOV2_L,
        DINOV2_B,
        CLIP_L_336,
        CLIP_B_32,
    )
}
