"""Run the user's model to make images; afterwards the model and all random states are as they were."""

from __future__ import annotations

import contextlib
import functools
import random
import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganeval.arithmetic import cudnn_by_rule, no_autocast, strict_float32
from ganeval.errors import InputError, number_of
from ganeval.images.decode import UnreadableImage
from ganeval.images.model_outputs import to_image_array
from ganeval.images.module_search import unwrap_distributed
from ganeval.images.module_watch import Watch
from ganeval.images.pixels import ValueRange, range_notes, unchecked
from ganeval.images.transfer import start_fetch, to_device

_TORCH, _HERE = Path(torch.__file__).parent, Path(__file__).parent
_RAISED = re.compile(r"\w+(\.\w+)*(Error|Exception): ")
EXITS = (KeyboardInterrupt, SystemExit, GeneratorExit)  # raised by user code to end the program
Place = tuple[torch.device, torch.dtype | None]
# images, the check of their values, and whether the model drew random numbers
PendingImages = tuple[Tensor, Callable[[], Counter[str]], bool]
NOISE = "the generator draws random numbers itself, so each image was made alone, with the random numbers of its index"


class UserModel:
    """A callable that turns tensors into images.

    Inside ``on_device`` a module is on the wanted device, else where it always was. Each call runs it in evaluation
    mode, without gradients and autocast, with every random state seeded; modes, buffers and states are put back after
    the call. That holds for every module that takes part, however the callable reaches it, see ``ganeval.images
    .watching``; moved is only a module itself, or one whose method this is.

    Args:
        spec: the model, as the user knows it.
        model: tensors to images, see ``ganeval.images.model_outputs``: uint8, or floats in ``value_range``.
        value_range: of floats.
        device: where it runs; None for where it is.
        exact: on an accelerator only arithmetic that repeats bit by bit.
        keep_mode: leave modules in the mode that they are in.
    """

    def __init__(
        self,
        spec: str,
        model: Callable[..., Any],
        value_range: ValueRange | None,
        device: torch.device | None = None,
        *,
        exact: bool = False,
        keep_mode: bool = False,
    ) -> None:
        self.spec, self.model, self.value_range = spec, unwrap_distributed(model), value_range
        self._module = _module_of(self.model)
        self._watch = Watch(self.model, keep_mode=keep_mode)
        self._device = device
        self._exact = exact
        self._seen_at: Place | None = None
        self._draws_noise = False  # until it is seen to

    def describe(self) -> dict[str, object]:
        """Facts on modes for the provenance: whether they are kept, or the classes of modules in training mode."""
        if self._watch.keep_mode:
            return {"keep_mode": True}
        names = {"set_to_evaluation": self._watch.switched, "training_elsewhere": self._watch.elsewhere}
        return {key: list(found) for key, found in names.items() if found}

    @contextlib.contextmanager
    def on_device(self) -> Iterator[None]:
        """Move the module to the device and back at the end; a module on several devices is not moved."""
        homes = {tensor.device for tensor in _tensors(self._module)}
        if self._module is None or self._device is None or len(homes) != 1 or _same(home := homes.pop(), self._device):
            yield
            return
        self._module.to(self._device)
        try:
            yield
        finally:
            self._module.to(home)

    def place(self) -> Place:
        """The device for inputs, and the floating-point type of the weights."""
        if self._seen_at is not None:
            return self._seen_at
        if (place := _place_of(self._watch.modules())) is not None:
            return place
        device = getattr(self.model, "device", None)
        if isinstance(device, (str, torch.device)):
            return torch.device(device), None
        return self._device or torch.device("cpu"), None

    def make(self, n: int, begin: Callable[[slice], PendingImages]) -> tuple[Tensor, Callable[[], Counter[str]]]:
        """Make n images at once; one by one from the first time on that the model draws random numbers itself.

        Each image then has the random numbers of its own seed, independent of the images made with it.

        Args:
            begin: calls ``begin`` for some of the n images.

        Returns:
            The images, and the check of their values, which returns notes; see ``begin``.
        """
        if not self._draws_noise:
            images, check, self._draws_noise = begin(slice(None))
            if not self._draws_noise:
                return images, check
            check()
        each = [begin(slice(i, i + 1)) for i in range(n)]
        noise = Counter({NOISE: n})
        return torch.cat([images for images, _, _ in each]), lambda: sum((check() for _, check, _ in each), noise)

    def begin(
        self,
        *inputs: Tensor | list[str],
        seed: int,
        what: str,
        names: Sequence[str],
        keep: Tensor | slice | None = None,
    ) -> PendingImages:
        """Run the model on N inputs; an accelerator is not waited for.

        Args:
            inputs: (N, ...) each, moved to its device, floats to the type of its weights; or lists of N texts.
            seed: of every random state that it may draw from.
            what: the inputs, for messages.
            names: of the wanted images, for messages.
            keep: which of the N images are wanted; the others are not looked at. None for all.

        Returns:
            uint8 (N or fewer, 3, H, W) on the device of the model, a function that checks the range of their values and
            returns notes, and whether the model drew random numbers. Until the check was called, values outside the
            range may be among the images.

        Raises:
            InputError: the model raises, or does not return N images; the check raises it for values out of range.
        """
        with self.run(*inputs, seed=seed, what=what) as (made, drawn):
            images, notes = to_image_array(made, len(inputs[0]), spec=self.spec, what=what)
            if isinstance(keep, slice):
                images = images[keep]
            elif keep is not None:
                images = images[to_device(keep, images.device) if isinstance(images, Tensor) else keep.numpy()]
            ready, ends, more = unchecked(images, value_range=self.value_range, prefer="NCHW", what=self.spec)
            if ends is None:  # what is 8-bit already: a buffer or a captured graph takes the next images in its place
                ready = ready.clone()
        fetched = None if ends is None else start_fetch(ends)

        def check() -> Counter[str]:
            if fetched is None or self.value_range is None:
                return notes + more
            return notes + more + self._range_notes(fetched(), names, self.value_range)

        return ready, check, drawn

    def _range_notes(self, ends: Tensor, names: Sequence[str], value_range: ValueRange) -> Counter[str]:
        """Notes on the values; the error for values out of range names the first such image."""
        try:
            return range_notes(ends, value_range)
        except UnreadableImage as error:
            reason = str(error)
            for one, name in zip(torch.split(ends, 1, 1), names, strict=True):
                try:
                    range_notes(one, value_range)
                except UnreadableImage as first:
                    text = str(first)
                    reason = f"{name} {text[3:]}" if text.startswith("it ") else f"{name} cannot be used: {text}"
                    break
            raise InputError(f"{self.spec}: {reason}.") from error

    @contextlib.contextmanager
    def run(
        self,
        *inputs: Tensor | list[str],
        seed: int,
        what: str,
        call: Callable[..., Any] | None = None,
        exact: bool = False,
    ) -> Iterator[tuple[Any, bool]]:
        """Run the model; yields what it returns, which it may overwrite after the end, and whether it drew noise.

        Args:
            call: does it in place of the model, of whose parts it is made.
            exact: this time too, see the class.
        """
        device, dtype = place = self.place()
        ready = tuple(x if isinstance(x, list) else _placed(x, device, dtype) for x in inputs)

        def once() -> tuple[Any, bool]:
            given = [list(x) if isinstance(x, list) else x for x in ready]  # the model may change its list
            with _seeded(device, seed, exact=self._exact or exact) as drew, torch.no_grad():
                return (call or self.model)(*given), drew()

        with contextlib.ExitStack() as until_the_end:
            try:
                made = until_the_end.enter_context(self._watch(once))
            except EXITS:
                raise
            except BaseException as error:  # user code may raise anything
                found = _place_of([first]) if (first := self._watch.first) is not None else None
                if self._seen_at is not None or found in (None, place):
                    failed = f"{self.spec} fails on {_shown(ready, what, device)}"
                    raise InputError(f"{failed}: {describe_error(error)}. {_ADVICE[what]}") from error
                self._seen_at = found  # of a module that only running it has shown
                again = self.run(*inputs, seed=seed, what=what, call=call, exact=exact)
                made = until_the_end.enter_context(again)
            yield made


def merge_modes(described: Iterable[Mapping[str, Any]]) -> dict[str, object]:
    """The union of what ``UserModel.describe`` returned for several runs."""
    described = list(described)
    merged: dict[str, object] = {"keep_mode": True} if any(one.get("keep_mode") for one in described) else {}
    for key in ("set_to_evaluation", "training_elsewhere"):
        if names := {name: None for one in described for name in one.get(key, ())}:
            merged[key] = list(names)
    return merged


@contextlib.contextmanager
def keep_random_states(cuda: Iterable[int] | None = None) -> Iterator[None]:
    """Put Python's, numpy's and torch's random states back at the end.

    Args:
        cuda: the CUDA devices whose states are kept; None for all, where CUDA is in use.
    """
    if cuda is None:
        cuda = range(torch.cuda.device_count()) if _cuda_in_use() else ()
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


def _cuda_in_use() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


def _placed(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return to_device(tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor, device)


def _shown(inputs: Sequence[Tensor | list[str]], what: str, device: torch.device) -> str:
    """The inputs of a model, for messages."""
    first, texts = inputs[0], [x for x in inputs if isinstance(x, list)]
    if isinstance(first, list):
        return f"a list of {number_of(len(first), 'prompt')}, on {device}"
    more = f" and {number_of(len(texts[0]), 'prompt')}" if texts else ""
    return f"{what} of shape {tuple(first.shape)}, {first.dtype}{more} on {device}"


_ADVICE = {
    "latents": "Check latent_dim (--latent-dim 100; several axes: 100,1,1), num_classes, prompts, device and the "
    "generator.",
    "prompts": "It is given a list of texts alone; if it takes latents before them, declare their shape: latent_dim "
    "(--latent-dim 4,64,64).",
    "images": "Check value_range, device and the model.",
}


def describe_error(error: BaseException) -> str:
    """An exception in one line, with its place in the user's code."""
    text = _reason(str(error))
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(f) for f in (_TORCH, _HERE))]
    where = f" (at {own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def _reason(text: str) -> str:
    """The message of an exception in one line; of a long one its beginning and its end.

    TorchScript puts the reason last, behind its own traceback.
    """
    if "TorchScript interpreter" in text:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        reason = lines[max((i for i, line in enumerate(lines) if _RAISED.match(line)), default=-1) :]
        text = _RAISED.sub("", " ".join(reason), count=1)
    text = " ".join(text.split())
    return text if len(text) <= 400 else f"{text[:200]} ... {text[-200:]}"


def _tensors(module: nn.Module | None) -> list[Tensor]:
    return [] if module is None else [*module.parameters(), *module.buffers()]


def _same(home: torch.device, wanted: torch.device) -> bool:
    return home.type == wanted.type and (wanted.index is None or home.index == wanted.index)


def _module_of(model: Any) -> nn.Module | None:
    """The model itself if it is a module, or the module whose method it is."""
    if isinstance(model, functools.partial):
        return _module_of(model.func)
    owner = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def _place_of(modules: Iterable[nn.Module]) -> Place | None:
    tensors = [tensor for module in modules for tensor in _tensors(module)]
    if not tensors:
        return None
    return tensors[0].device, next((t.dtype for t in tensors if t.is_floating_point()), None)


@contextlib.contextmanager
def _seeded(device: torch.device, seed: int, *, exact: bool) -> Iterator[Callable[[], bool]]:
    """Seed every random state inside, and put all of them back at the end.

    Args:
        exact: arithmetic repeats bit by bit on every accelerator, whatever settings the program has.

    Yields a function that says whether random numbers were drawn since the start.
    """
    cuda = set[int]()
    if _cuda_in_use():
        here = torch.cuda.current_device()
        cuda = {here, here if device.index is None else device.index} if device.type == "cuda" else {here}
    on_mps = device.type == "mps"

    def states() -> list[object]:
        of_numpy: Any = np.random.get_state()  # noqa: NPY002
        torchs = [torch.get_rng_state(), *(torch.cuda.get_rng_state(index) for index in sorted(cuda))]
        torchs += [torch.mps.get_rng_state()] if on_mps else []
        return [of_numpy[1].tobytes(), of_numpy[2:], random.getstate(), *(state.numpy().tobytes() for state in torchs)]

    with contextlib.ExitStack() as stack:
        stack.enter_context(keep_random_states(sorted(cuda)))
        if exact:
            stack.enter_context(strict_float32())
            stack.enter_context(cudnn_by_rule(deterministic=True))
        # without the autocast of the surrounding program, images do not depend on where they are made
        for kind in {"cpu", device.type}:
            stack.enter_context(no_autocast(torch.device(kind)))
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        if on_mps:
            torch.mps.manual_seed(seed)
        before = states()
        yield lambda: states() != before
