"""Somebody's model, borrowed for a while: it makes images, and afterwards it and all random state are as they were."""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganeval.errors import InputError
from ganeval.images.decode import UnreadableImage
from ganeval.images.pixels import ValueRange, to_uint8

_TORCH = Path(torch.__file__).parent


class Borrowed:
    """A callable that turns tensors into images.

    Inside ``on_device`` a module is on the wanted device, else where it always was. Each call runs it in evaluation
    mode, without gradients, with every random state seeded; mode and states are put back after the call. That holds
    for a module, for what is bound to one, and for modules that a function or an object refers to by name (of those
    only the mode changes, they are not moved).

    Args:
        spec: the model, as the user knows it.
        model: tensors to images (N, 3 or 1, H, W): uint8, or floats in ``value_range``.
        value_range: of floats.
        device: where it runs; None for where it is.
        exact: on an accelerator only arithmetic that repeats bit by bit.
    """

    def __init__(
        self,
        spec: str,
        model: Callable[..., Any],
        value_range: ValueRange | None,
        device: torch.device | None = None,
        *,
        exact: bool = False,
    ) -> None:
        self.spec, self.model, self.value_range = spec, model, value_range
        self._module = _module_of(model)
        self._modules = _modules_of(model)
        self._device = device
        self._exact = exact

    @contextlib.contextmanager
    def on_device(self) -> Iterator[None]:
        """The module is moved before and moved back after; one that is spread over devices stays where it is."""
        homes = {tensor.device for tensor in _tensors(self._module)}
        if self._module is None or self._device is None or len(homes) != 1 or _same(home := homes.pop(), self._device):
            yield
            return
        self._module.to(self._device)
        try:
            yield
        finally:
            self._module.to(home)

    def place(self) -> tuple[torch.device, torch.dtype | None]:
        """Where inputs have to be, and the floating-point type of the weights that they meet."""
        tensors = [tensor for module in self._modules for tensor in _tensors(module)]
        if tensors:
            return tensors[0].device, next((t.dtype for t in tensors if t.is_floating_point()), None)
        device = getattr(self.model, "device", None)
        if isinstance(device, (str, torch.device)):
            return torch.device(device), None
        return self._device or torch.device("cpu"), None

    def __call__(
        self, *inputs: Tensor, seed: int, what: str, keep: Tensor | None = None
    ) -> tuple[Tensor, Counter[str], bool]:
        """Run it on N inputs.

        Args:
            inputs: (N, ...) each; moved to its device, floats to the type of its weights.
            seed: of every random state that it may draw from.
            what: the inputs, for messages.
            keep: which of the N images are wanted; the others are not looked at. None for all.

        Returns:
            uint8 (N or fewer, 3, H, W) on its device, notes, and whether it drew random numbers.

        Raises:
            InputError: it raises, or does not return N images in the declared range.
        """
        made, drawn = self.run(*inputs, seed=seed, what=what)
        self.check_shape(made, len(inputs[0]), what)
        if keep is not None:
            made = made[keep.to(made.device) if isinstance(made, Tensor) else keep.numpy()]
        try:
            return *to_uint8(made, value_range=self.value_range, prefer="NCHW", what=self.spec), drawn
        except UnreadableImage as error:
            raise InputError(f"{self.spec} makes an image that cannot be used: {error}.") from error

    def run(
        self, *inputs: Tensor, seed: int, what: str, call: Callable[..., Any] | None = None, exact: bool = False
    ) -> tuple[Any, bool]:
        """As a call, but what it makes is returned as it is, whatever it is.

        Args:
            call: does it in place of the model, of whose parts it is made.
            exact: this time too, see the class.
        """
        device, dtype = self.place()
        ready = tuple(x.to(device, dtype if x.is_floating_point() else None) for x in inputs)
        with _as_found(self._modules, device, seed, exact=self._exact or exact) as drew, torch.no_grad():
            try:
                made = (call or self.model)(*ready)
            except Exception as error:  # somebody's code, which may raise anything
                shapes = f"{what} of shape {tuple(ready[0].shape)}, {ready[0].dtype} on {device}"
                raise InputError(f"{self.spec} fails on {shapes}: {told(error)}. {_ADVICE[what]}") from error
            return made, drew()

    def check_shape(self, made: Any, n: int, what: str) -> None:
        """Raise InputError unless these are n images, NCHW."""
        if not isinstance(made, (Tensor, np.ndarray)):
            raise InputError(
                f"{self.spec} returns a {type(made).__name__}; needed is a tensor (N, 3, H, W). "
                "Wrap it, for example lambda z: generator(z)[0]."
            )
        shape = tuple(made.shape)
        if len(shape) == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3):
            raise InputError(
                f"{self.spec} returns NHWC images, shape {shape}; needed is (N, 3, H, W): permute(0, 3, 1, 2)."
            )
        if len(shape) != 4 or shape[0] != n or shape[1] not in (1, 3):
            raise InputError(
                f"{self.spec} makes an array of shape {shape} of {n} {what}; needed is ({n}, 3, H, W), or 1 channel."
            )


@contextlib.contextmanager
def random_states_kept() -> Iterator[None]:
    """Python's, numpy's and torch's random states are afterwards as they were, on every accelerator in use."""
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() and torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=list(cuda)):
            yield
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)
        if mps is not None:
            torch.mps.set_rng_state(mps)


_ADVICE = {
    "latents": "Check --latent-dim, --num-classes, --device and the generator.",
    "images": "Check --value-range, --device and the model.",
}


def told(error: BaseException) -> str:
    """What was raised, in one line, and where in the user's code."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else f"{text[:300]}..."
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is our call
    own = [frame for frame in frames if _TORCH not in Path(frame.filename).parents]
    where = f" (at {own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def _tensors(module: nn.Module | None) -> list[Tensor]:
    return [] if module is None else [*module.parameters(), *module.buffers()]


def _same(home: torch.device, wanted: torch.device) -> bool:
    return home.type == wanted.type and (wanted.index is None or home.index == wanted.index)


def _module_of(model: Any) -> nn.Module | None:
    """The module that this is, or whose method it is."""
    if isinstance(model, functools.partial):
        return _module_of(model.func)
    owner = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def _modules_of(model: Any) -> list[nn.Module]:
    """Modules whose mode matters when this is called, as far as names tell."""
    if isinstance(model, functools.partial):
        return _modules_of(model.func)
    if (module := _module_of(model)) is not None:
        return [module]
    if inspect.isfunction(model):
        try:
            names = inspect.getclosurevars(model)
        except ValueError:  # it refers to what is not there yet
            return []
        values = [*names.nonlocals.values(), *names.globals.values()]
    else:
        values = list(getattr(getattr(model, "__self__", model), "__dict__", {}).values())
    return [value for value in values if isinstance(value, nn.Module)]


@contextlib.contextmanager
def _as_found(
    modules: list[nn.Module], device: torch.device, seed: int, *, exact: bool
) -> Iterator[Callable[[], bool]]:
    """Evaluation mode and seeded randomness inside; outside, every sub-module's mode and all random states as before.

    Yields a function that tells whether random numbers were drawn since the start.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    trained = [module for module in modules if module.training]
    cuda = set[int]()
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        here = torch.cuda.current_device()
        cuda = {here, here if device.index is None else device.index} if device.type == "cuda" else {here}
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002
    arithmetic = torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=False)

    def states() -> list[object]:
        of_numpy: Any = np.random.get_state()  # noqa: NPY002
        torchs = [torch.get_rng_state(), *(torch.cuda.get_rng_state(index) for index in sorted(cuda))]
        torchs += [] if mps is None else [torch.mps.get_rng_state()]
        return [of_numpy[1].tobytes(), of_numpy[2:], random.getstate(), *(state.numpy().tobytes() for state in torchs)]

    with torch.random.fork_rng(devices=sorted(cuda)), arithmetic if exact else contextlib.nullcontext():
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        if mps is not None:
            torch.mps.manual_seed(seed)
        before = states()
        try:
            for module in modules:
                if any(part.training for part in module.modules()):
                    module.eval()
            yield lambda: states() != before
        finally:
            for module in trained:
                module.train()  # a module may do more than set a flag
            for part, training in modes:  # and some parts may have been left in another mode on purpose
                part.training = training
            np.random.set_state(numpys)  # noqa: NPY002
            random.setstate(pythons)
            if mps is not None:
                torch.mps.set_rng_state(mps)
