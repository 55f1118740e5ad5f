"""The network of a protocol on one device: batches of images in, named rows of features out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ganeval.arithmetic import HALF, inference, plain_defaults, unsupported_errors, warn_host_fallback
from ganeval.errors import ConfigError
from ganeval.features.batch_sizes import Sizes, usual_batch
from ganeval.features.compiled import Compiled, require_compiler
from ganeval.features.devices import give_back
from ganeval.features.networks import load_network
from ganeval.features.per_thread import Features, Images, PerThreadInference
from ganeval.features.precision import Deviation, require_precision
from ganeval.features.registry import get_network
from ganeval.features.residence import Residence
from ganeval.features.scaling import SCALES
from ganeval.features.types import NetworkSource, resolve
from ganeval.images.resize import PIL_MODES, PillowResize, resize, resize_mixed
from ganeval.images.transfer import to_device
from ganeval.images.types import ImageBatch
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol

_CALIBRATION = 16  # images, or those of the first batch if they are fewer


class FeatureExtractor:
    """Resize, scale and network of one protocol.

    Call it with an ``ImageBatch`` of N images of any sizes, or of float32 images that ``prepare`` has resized; it
    returns ``{tap: float32 (N, d)}`` on its device.
    Float32 throughout: TF32 and autocast are off while it runs, and restored afterwards. Under another precision of the
    protocol the network alone computes in that, and the first images go through it in float32 too, so that its
    warnings can tell what it costs.

    Args:
        weights: in place of the published weights, which are found or fetched.
        layers: what metrics call the layers that are computed.
        compile: run the network as one compiled program, see ``ganeval.features.compiled``.

    Raises:
        WeightsError: no weights, damaged ones, or ones of another network.
        ConfigError: an arithmetic that the device does not have, or nothing that compiles.

    Attributes:
        protocol: the protocol, with the hash of the weights that were loaded.
        prepare: the resize that decode workers should apply to each image (modes of Pillow), or None.
        dimensions: width of every tap.
        deviation: of features in the protocol's precision from those in float32, after the first images.
        batch_size: the given one, or a good one for this device.
        compiled: whether the network is compiled.
        from_file: whether the hash of the weights identifies the network, which is not so for code of the user.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        device: torch.device,
        weights: NetworkSource | None = None,
        layers: tuple[str, ...] = ("features",),
        compile: bool = False,
        batch_size: int | None = None,
    ) -> None:
        require_precision(protocol.precision, device)
        if compile:
            require_compiler(device)
        self._declared = declared = get_network(protocol.extractor)
        # weights stay on the host, and a copy is on the accelerator; code of the user moves as a whole
        copied = not declared.user_model and device.type != "cpu"
        network = load_network(protocol, torch.device("cpu") if copied else device, weights)
        if declared.user_model:  # its width is known only now
            protocol = replace(protocol, layer=next(iter(network.dimensions)))
        self.protocol = protocol.with_weights(network.weights, verified=network.verified)
        self._warnings = network.warnings
        self.from_file, self.compiled = weights is None or isinstance(weights, Path), compile
        self.device = device
        self.deviation: Deviation | None = None
        self.taps = tuple(self.tap(layer) for layer in layers)
        self.dimensions = network.dimensions
        self._network = network.module
        self._optimizer = None if compile else declared.optimize
        if copied or protocol.precision == "float32":  # on the CPU, weights of half precision are cast first
            self._optimize()
        self._per_thread: PerThreadInference | None = None
        if declared.per_thread and device.type == "cpu" and not compile:
            batch_size = batch_size or declared.per_thread
            self._per_thread = PerThreadInference(batch_size)
        self._weights = Residence(self._network, device) if copied else None
        self._run: Callable[[Tensor, tuple[str, ...]], dict[str, Tensor]] = self._network
        self._program: Compiled | None = None
        if compile:
            self._run = self._program = Compiled(self._network, device)
        self._used, self._halved = device.type != "cpu" and not copied, False
        self._fits: int | None = None  # images at once, once the device's memory was full
        self._sizes = Sizes()
        self.batch_size = batch_size or usual_batch(declared, device)
        self.prepare: PillowResize | None = None
        if protocol.resize in PIL_MODES:
            self.prepare = PillowResize(protocol.size, protocol.resize)

    def tap(self, layer: str) -> str:
        """The network's own name of what a metric calls ``features``, ``logits`` or ``spatial``."""
        return self.protocol.at(layer).layer

    def release(self) -> None:
        """Give the accelerator's memory back until the next batch.

        A compiled network stays there: a captured graph holds the addresses of its weights.
        """
        if self._used and not self.compiled:
            self._leave()
        if self._used:
            give_back(self.device)
        self._used = False

    @property
    def compiled_for_nothing(self) -> bool:
        """Whether most batches had another shape than the first, for which the network was compiled."""
        return self._program is not None and self._program.others > self._program.calls

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the numbers should know about the network and its precision."""
        precision, texts = self.protocol.precision, list(self._warnings)
        if precision != "float32" and self.deviation is None:
            texts.append(f"{precision} arithmetic: compare values of one precision only")
        elif self.deviation is not None:
            texts.append(self.deviation.describe(precision, self.protocol.layer))
        if self._fits is not None:
            texts.append(
                f"the memory of {self.device} held {self._fits} images at once: {option('batch_size', self._fits)}"
            )
        return tuple(texts)

    def __call__(self, batch: ImageBatch) -> dict[str, Tensor]:
        parts: list[dict[str, Tensor]] = []
        images = batch.images if self.prepare is None else batch.resized.get(self.prepare, batch.images)
        start, n = 0, len(images)
        while start < n or not parts:
            size = n - start if self._fits is None else min(n - start, self._fits)
            try:
                self._enter()
                # a network of the user runs under the user's defaults
                with nullcontext() if self._declared.user_model else plain_defaults():
                    parts.append(self._compute(images[start : start + size]))
            except torch.cuda.OutOfMemoryError as error:
                if size <= 1:
                    raise ConfigError(
                        f"{self.device} has no memory for one image through {self.protocol.extractor} "
                        f"({str(error).split('. ')[0]}). Free some of it, or compute on the CPU: "
                        f"{option('device', 'cpu')}; a smaller {option('batch_size')} leaves more of it to the "
                        "surrounding program."
                    ) from error
                self._fits = size // 2
                continue
            except unsupported_errors(self.device) as error:
                self._continue_on_host(error)
                continue
            start += size
        if len(parts) == 1:
            return parts[0]
        return {tap: torch.cat([part[tap].to(self.device) for part in parts]) for tap in parts[0]}

    def _enter(self) -> None:
        """Put the network on the accelerator."""
        if self.device.type != "cpu":
            if self._weights is not None:
                self._weights.enter()
            elif not self._used:
                self._network.to(self.device)
            self._used = True

    def _leave(self) -> None:
        if self._weights is not None:
            self._weights.leave()
        else:
            self._network.to("cpu")

    def _continue_on_host(self, error: Exception) -> None:
        """Compute on the CPU from now on: the device lacks an operation of the network."""
        self._leave()
        self._warnings += (warn_host_fallback(f"features of {self.protocol.extractor} are computed", error),)
        self.device, self._used = torch.device("cpu"), False

    def _compute(self, given: Images) -> dict[str, Tensor]:
        """The features of as many images as fit into the device's memory at once."""
        precision, exact = self.protocol.precision, None
        with inference("float32", self.device):
            if self._per_thread is not None and (precision == "float32" or self._halved):
                return self._per_thread(self._features, given)
            images = SCALES[self.protocol.scale](self._resized(given))
            n = len(images)
            if self.device.type != "cpu" and not self._declared.user_model:
                images = self._sizes.padded(images, self._fits)
            if precision == "float32":
                return {tap: rows[:n] for tap, rows in self._run(images, self.taps).items()}
            if self.deviation is None and not self._halved:
                exact = self._network(images[: min(n, _CALIBRATION)], self.taps)
        half = HALF.get(precision)
        if half is not None and not self._declared.user_model:  # autocast casts what it can of a user's network
            images = images.to(half)
            if not self._halved:  # once, even if the batch fails: weights that were rounded stay so
                if self._weights is not None:
                    self._weights.cast(half)
                else:
                    self._network.to(half)
                self._halved = True
                self._optimize()
        self._enter()
        with inference(precision, self.device):
            features = {tap: rows[:n].float() for tap, rows in self._run(images, self.taps).items()}
        if exact is not None:
            self.deviation = Deviation.between(exact, {tap: rows[:_CALIBRATION] for tap, rows in features.items()})
        return features

    def _features(self, images: Images) -> Features:
        """The features of one thread's images, inside the float32 of the caller."""
        scaled, half = SCALES[self.protocol.scale](self._resized(images)), HALF.get(self.protocol.precision)
        if half is None:
            return dict(self._network(scaled, self.taps))
        with torch.autocast("cpu", half):
            return {tap: rows.float() for tap, rows in self._network(scaled.to(half), self.taps).items()}

    def _optimize(self) -> None:
        """Replace layers by faster ones, once, unless the network is compiled."""
        if self._optimizer is not None:
            self._run = self._network = resolve(self._optimizer)(self._network)
            self._optimizer = None

    def _resized(self, images: Images) -> Tensor:
        if isinstance(images, Tensor) and images.is_floating_point():  # the decode workers did it
            return to_device(images, self.device)
        # Pillow has no accelerator, and Apple's lacks some kernels
        there = torch.device("cpu") if self.prepare or self.device.type == "mps" else self.device
        size, mode = self.protocol.size, self.protocol.resize
        if isinstance(images, Tensor):
            return to_device(resize(to_device(images, there).float(), size, mode), self.device)
        return to_device(resize_mixed(images, size, mode, there), self.device)
