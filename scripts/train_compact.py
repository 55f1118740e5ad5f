"""Train ``compact-v1`` from scratch, on any source of CIFAR-10 with ten class folders.

``python scripts/train_compact.py --data cifar10-train.zip --test cifar10-test.zip -o compact-v1`` takes an hour or two
on two CPU cores with bfloat16 autocast, minutes on a GPU. It writes ``compact-v1.safetensors`` (float16,
normalisation folded into the convolutions) and ``compact-v1.json``, its card.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ganeval.errors import InputError
from ganeval.features.compact import CLASSES, COMPACT_SIZE, CompactFeatures, CompactNet
from ganeval.files import write_text, written_whole
from ganeval.images.open import open_images


def load_labelled(spec: str) -> tuple[Tensor, Tensor]:
    """All images of a source with class folders: uint8 (N, 3, 32, 32), and labels in the order of CLASSES."""
    source = open_images(spec)
    names = source.labels()
    if names is None or set(names) != set(CLASSES):
        raise InputError(f"{spec} must have one folder for each of {', '.join(CLASSES)}.")
    batches = []
    for batch in source.batches(1000):
        if not isinstance(batch.images, Tensor) or batch.images.shape[2:] != (COMPACT_SIZE, COMPACT_SIZE):
            raise InputError(f"{spec} has images that are not {COMPACT_SIZE} x {COMPACT_SIZE}.")
        batches.append(batch.images)
    return torch.cat(batches), torch.tensor([CLASSES.index(name) for name in names])


def whitening(images: Tensor, epsilon: float = 5e-4) -> Tensor:
    """The first layer's weights: unit-variance principal directions of 2 x 2 patches, then their negatives."""
    patches = images.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    directions = (vectors / torch.sqrt(values + epsilon)).T.flip(0).reshape(12, 3, 2, 2)
    return torch.cat([directions, -directions])


def augment(images: Tensor, generator: torch.Generator, *, shift: int = 3, hole: int = 8) -> Tensor:
    """Mirror, shift by up to ``shift`` pixels (reflected borders) and erase one square, drawn for each image."""
    n, _, size, _ = images.shape
    images = nn.functional.pad(images, (shift,) * 4, mode="reflect")
    offsets = torch.randint(0, 2 * shift + 1, (2, n, 1), generator=generator)
    flip = torch.rand(n, 1, generator=generator) < 0.5
    span = torch.arange(size)
    rows = offsets[0] + span
    columns = offsets[1] + torch.where(flip, span.flip(0), span)
    out = images[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    centre = torch.randint(0, size, (2, n, 1), generator=generator)
    inside = ((span - centre).abs() * 2 < hole).float()  # (2, n, size)
    return out * (1 - inside[0][:, None, :, None] * inside[1][:, None, None, :])


def cutmix(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Paste a rectangle of another image of the batch into half of the images (Yun et al. 2019).

    Returns:
        The images, the row each rectangle comes from, and the share of its own pixels that each image keeps.
    """
    n, _, size, _ = images.shape
    partner = torch.randperm(n, generator=generator)
    side = torch.rand(n, 1, generator=generator).sqrt() * size * (torch.rand(n, 1, generator=generator) < 0.5)
    centre = torch.randint(0, size, (2, n, 1), generator=generator)
    inside = (torch.arange(size) - centre).abs() * 2 < side  # (2, n, size)
    mask = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(mask, images[partner], images), partner, 1 - mask.float().mean(dim=(1, 2, 3))


def scaled(images: Tensor) -> Tensor:
    return (images.float() - 127.5).div_(127.5).contiguous(memory_format=torch.channels_last)


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, device: torch.device | str = "cpu") -> float:
    """Share of correct answers, in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        pairs = zip(torch.split(images, 500), torch.split(labels, 500), strict=True)
        right = sum(int((model(scaled(x).to(device))["logits"].argmax(1).cpu() == y).sum()) for x, y in pairs)
    return right / len(labels)


class Classifier(nn.Module):
    """The classifier under `--protocol compact:logits-6`: the mean logits of six views."""

    def __init__(self, network: CompactNet) -> None:
        super().__init__()
        self.features = CompactFeatures(network)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.features(x, ("logits-6",))["logits-6"]}


def export(state: dict[str, Tensor], path: Path) -> CompactNet:
    """Fold the normalisation, round to float16 and write; returns the network as a reader loads it."""
    trained = CompactNet(folded=False)
    trained.load_state_dict(state)
    folded = {name: tensor.half().contiguous() for name, tensor in trained.eval().fold().state_dict().items()}
    with written_whole(path) as temporary:
        save_file(folded, temporary)
    network = CompactNet()
    network.load_state_dict({name: tensor.float() for name, tensor in folded.items()})
    return network.eval()


@dataclass(frozen=True, slots=True)
class Data:
    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One cycle of the learning rate; ``mix``: whether the stage uses CutMix."""

    epochs: int
    rate: float
    mix: bool
    batch_size: int
    weight_decay: float


def fit(
    model: CompactNet,
    data: Data,
    stage: Stage,
    *,
    generator: torch.Generator,
    device: str,
    curve: list[dict[str, float]],
) -> dict[str, Tensor]:
    """Run one cycle of stochastic gradient descent; returns the exponential average of the weights."""
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)  # type: ignore[no-untyped-call]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": stage.weight_decay},
            {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=stage.rate,
        momentum=0.9,
        nesterov=True,
    )
    steps = len(data.images) // stage.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        stage.rate,
        total_steps=stage.epochs * steps,
        pct_start=0.1 if stage.mix else 0.2,
        div_factor=10,
        final_div_factor=500,
        cycle_momentum=False,
    )
    started = time.time()
    for epoch in range(1, stage.epochs + 1):
        model.train()
        order = torch.randperm(len(data.images), generator=generator)
        for step in tqdm(range(steps), desc=f"epoch {epoch}/{stage.epochs}", disable=None):
            rows = order[step * stage.batch_size : (step + 1) * stage.batch_size]
            images, labels = augment(data.images[rows].float(), generator), data.labels[rows].to(device)
            if stage.mix:
                images, partner, share = cutmix(images, generator)
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                logits = model(scaled(images).to(device))["logits"].float()
            loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
            if stage.mix:
                other = nn.functional.cross_entropy(
                    logits, labels[partner.to(device)], label_smoothing=0.1, reduction="none"
                )
                loss = loss * share.to(device) + other * (1 - share.to(device))
            mean = loss.mean()
            optimiser.zero_grad(set_to_none=True)
            mean.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            average.update_parameters(model)
        right = accuracy(average.module, data.test_images, data.test_labels, device)
        curve.append({"epoch": len(curve) + 1, "test_accuracy": right, "seconds": round(time.time() - started, 1)})
        click.echo(f"epoch {epoch}: loss {mean.item():.3f}, test accuracy {right:.4f}", err=True)
    return {name: tensor.detach().clone() for name, tensor in average.module.state_dict().items()}


def unfolded(path: Path, images: Tensor) -> dict[str, Tensor]:
    """Undo the folding of weights that ``export`` wrote, so that training can continue from them.

    Each normalisation receives the mean and the standard deviation of its channels on these images.
    """
    folded, model = CompactNet(), CompactNet(folded=False)
    state = {name: tensor.float() for name, tensor in load_file(path).items()}
    folded.load_state_dict(state)
    model.load_state_dict({k: v for k, v in state.items() if "conv" not in k or "weight" in k}, strict=False)
    seen: dict[str, Tensor] = {}
    for name, conv in folded.named_modules():
        if isinstance(conv, nn.Conv2d):
            conv.register_forward_hook(lambda _module, _inputs, y, name=name: seen.__setitem__(name, y))
    with torch.inference_mode():
        folded.eval()(scaled(images))
    for name, y in seen.items():
        if name == "whiten":
            continue
        norm, bias = model.get_submodule(name.replace("conv", "norm")), state[f"{name}.bias"]
        assert isinstance(norm, nn.BatchNorm2d)
        y = nn.functional.max_pool2d(y, 2) if name.endswith("conv1") else y
        mean, variance = y.mean(dim=(0, 2, 3)), y.var(dim=(0, 2, 3))
        with torch.no_grad():
            norm.weight.copy_(torch.sqrt(variance + norm.eps))  # in training mode too, nothing changes at first
            norm.bias.copy_(mean)
        norm.running_mean, norm.running_var = mean - bias, variance
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def deepened(state: dict[str, Tensor]) -> CompactNet:
    """The network of the second stage: new residual convolutions start with scale 0 and so change nothing."""
    model = CompactNet(folded=False)
    model.load_state_dict(state, strict=False)
    for name, module in model.named_modules():
        if name.endswith("norm3") and f"{name}.weight" not in state:
            nn.init.zeros_(cast(nn.BatchNorm2d, module).weight)
    return model


@click.command()
@click.option("--data", required=True, help="Training images, in ten class folders.")
@click.option("--test", required=True, help="Test images, in ten class folders.")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("compact-v1"))
@click.option("--epochs", default=(36, 24), show_default=True, nargs=2, help="Epochs of the two stages.")
@click.option("--rate", default=(0.3, 0.2), show_default=True, nargs=2, help="Highest learning rates.")
@click.option("--batch-size", default=256, show_default=True)
@click.option("--weight-decay", default=5e-4, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--continue-from", type=click.Path(path_type=Path, exists=True), help="Run only the last stage, from this file."
)
def main(
    data: str,
    test: str,
    output: Path,
    epochs: tuple[int, int],
    rate: tuple[float, float],
    batch_size: int,
    weight_decay: float,
    seed: int,
    device: str,
    continue_from: Path | None,
) -> None:
    """Train the compact network and write its weights and its card."""
    started = time.time()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    sets = Data(*load_labelled(data), *load_labelled(test))
    curve: list[dict[str, float]] = []
    output.mkdir(parents=True, exist_ok=True)
    some = sets.images[torch.randperm(len(sets.images), generator=generator)[:5000]]  # of all classes
    if continue_from is None:
        model = CompactNet(folded=False, deep=False)
        model.whiten.weight.data.copy_(whitening(scaled(some)))
        state = model.state_dict()
    else:
        state = unfolded(continue_from, some)
    for number in (0, 1) if continue_from is None else (1,):
        if number == 0:
            model = CompactNet(folded=False, deep=False)
            model.load_state_dict(state)
        else:
            model = deepened(state)
        model = model.to(device).to(memory_format=torch.channels_last)
        model.whiten.weight.requires_grad_(False)
        stage = Stage(
            epochs=epochs[number],
            rate=rate[number],
            mix=number == 1,
            batch_size=batch_size,
            weight_decay=weight_decay,
        )
        state = fit(model, sets, stage, generator=generator, device=device, curve=curve)
        if number == 1:  # the network of the first stage is not deep: it cannot be exported
            export({k: v.cpu() for k, v in state.items()}, output / "stage-2.safetensors")
    path = output / "compact-v1.safetensors"
    network = export({k: v.cpu() for k, v in state.items()}, path)
    recipe = {
        "continued_from": str(continue_from) if continue_from else None,
        "epochs": epochs,
        "rates": rate,
        "batch_size": batch_size,
        "weight_decay": weight_decay,
        "seed": seed,
    }
    card = {
        **describe(path, network, sets, recipe),
        "hardware": f"{device}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "seconds": round(time.time() - started),
        "curve": curve,
    }
    write_text(output / "compact-v1.json", json.dumps(card, indent=2) + "\n")
    click.echo(f"{path}: test accuracy {card['test_accuracy']:.4f}, sha256 {card['sha256']}")


def describe(path: Path, network: CompactNet, sets: Data, recipe: dict[str, object]) -> dict[str, Any]:
    """The part of the card that describes the network, its accuracy and how it was trained."""
    return {
        "name": "compact-v1",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "parameters": sum(p.numel() for p in network.parameters()),
        "test_accuracy": accuracy(Classifier(network), sets.test_images, sets.test_labels),
        "test_accuracy_of_one_view": accuracy(network, sets.test_images, sets.test_labels),
        "data": {"train": len(sets.labels), "test": len(sets.test_labels)},
        "recipe": {
            **recipe,
            "optimiser": "SGD, Nesterov momentum 0.9, one cycle a stage",
            "label_smoothing": 0.1,
            "average": "exponential, 0.998",
            "precision": "bfloat16",
            "augmentation": "mirror, shift by 3 pixels, an 8 x 8 hole; CutMix in the second stage",
        },
    }


if __name__ == "__main__":
    main()
