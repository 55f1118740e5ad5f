"""Which modules take part in a call of the user's code, found by watching it; they run in evaluation mode.

Names tell little: a generator may be reached through a dictionary, a default argument, a slot, a property or a module.
PyTorch calls a global hook before every module that runs, and whoever runs is found by that. Two kinds of modules are
not called and are looked for in what the callable refers to: those of which only a method runs, and TorchScript, whose
inner modules and methods call no hooks.

Compiled code is watched on the first batch, run as it was written: a hook inside it would compile it again for every
batch. No watching shows ``F.dropout(x, training=True)`` and the like: those have no mode.
"""

from __future__ import annotations

import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ganeval.images.reach import is_compiled, reachable

_TRIES = 3  # calls, each of which may meet modules that those before it did not
T = TypeVar("T")


class Watch:
    """Calls the user's code with the modules that it runs in evaluation mode, and gives them back as they were.

    Mode and buffers (running statistics, power iterations, moving averages) are restored after every call, however it
    ends. Where a module is met in training mode, it is switched before its forward pass, its buffers are restored and
    the call is made again, since what ran before it may have looked at its mode. Buffers of another shape than before
    (a cache that grew) stay; parameters and gradients are never touched.

    Args:
        model: what is called; looked through for modules.
        keep_mode: leave the mode as it is.

    Attributes:
        switched: names of the classes that were met in training mode, outermost first.
    """

    def __init__(self, model: object, *, keep_mode: bool = False) -> None:
        self.keep_mode = keep_mode
        self.switched: dict[str, None] = {}
        self._named, self._compiled = reachable(model)
        self._met: list[weakref.ref[nn.Module]] = []  # not held: a function may build its module anew for every call
        self._looked = False
        self._first: weakref.ref[nn.Module] | None = None

    def modules(self) -> list[nn.Module]:
        """Modules that took part so far, or may."""
        return [*self._named, *(module for one in self._met if (module := one()) is not None)]

    @property
    def first(self) -> nn.Module | None:
        """The module that ran first."""
        return None if self._first is None else self._first()

    def __call__(self, call: Callable[[], T]) -> T:
        """What ``call`` returns.

        Args:
            call: may be called up to three times, and seeds what it draws by itself.
        """
        states: dict[int, _State] = {}
        met: list[nn.Module] = []
        ran: set[int] = set()
        switched: list[tuple[nn.Module, bool]] = []
        fresh = False

        def meet(module: nn.Module) -> None:
            nonlocal fresh
            training = getattr(module, "training", False)  # TorchScript that is frozen has no mode
            if id(module) in states and (self.keep_mode or not training):
                return
            parts = list(module.modules())
            if id(module) not in states:
                met.append(module)
            for part in parts:
                if id(part) not in states:
                    states[id(part)] = _State.of(part)
            if not self.keep_mode and any(getattr(part, "training", False) for part in parts):
                fresh = True
                switched.append((module, training))
                module.eval()

        here = threading.get_ident()

        def before(module: nn.Module, _: object) -> None:
            # what is being compiled was met when it was called; other threads run what is not ours
            if not torch.compiler.is_compiling() and threading.get_ident() == here:
                ran.add(id(module))
                self._first = self._first or weakref.ref(module)
                meet(module)

        try:
            for module in self.modules():
                meet(module)
            for _ in range(_TRIES):
                fresh = False
                with nullcontext() if self._looked and self._compiled else _watched(before, eager=not self._looked):
                    made = call()
                if not fresh:
                    break
                for state in states.values():
                    state.restore_buffers()
            self._compiled = self._compiled or any(is_compiled(state.module) for state in states.values())
            self._looked = True
            self.switched |= {_class_name(module): None for module, _ in switched if _took_part(module, ran)}
            return made
        finally:
            self._remember(met)
            try:
                for module, training in switched:
                    if training:
                        module.train()  # a module may do more than set a flag
            finally:
                for state in states.values():
                    state.restore()

    def _remember(self, met: list[nn.Module]) -> None:
        known = self.modules()
        parts = {id(part) for module in (*known, *met) for part in module.modules() if part is not module}
        self._met = [one for one in self._met if one() is not None]
        self._met += [weakref.ref(one) for one in met if id(one) not in parts and all(one is not m for m in known)]


@dataclass(frozen=True, slots=True)
class _State:
    """One module without its children, as it was: its mode, and its buffers with their values."""

    module: nn.Module
    training: bool | None
    buffers: dict[str, tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, module: nn.Module) -> _State:
        with torch.no_grad():
            buffers = {
                name: (buffer, buffer.detach().clone())
                for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
                if not (buffer.is_meta or torch.nn.parameter.is_lazy(buffer))
            }
        return cls(module, getattr(module, "training", None), buffers)

    def restore(self) -> None:
        if self.training is not None and self.module.training != self.training:
            self.module.training = self.training
        self.restore_buffers()

    @torch.no_grad()
    def restore_buffers(self) -> None:
        current = dict(self.module.named_buffers(recurse=False, remove_duplicate=False))
        for name, (buffer, value) in self.buffers.items():
            now = current.get(name)
            if now is None or now.shape != value.shape or now.dtype != value.dtype:
                continue
            if buffer.device.type != "cpu":  # to compare, the host would wait; of this copy autograd knows nothing
                buffer.data.copy_(value)
            elif not _same_bits(buffer, value):  # no copy without need: autograd counts them
                buffer.copy_(value)
            if now is not buffer and now.data_ptr() != buffer.data_ptr():
                setattr(self.module, name, buffer)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or (
        one.is_floating_point() and torch.equal(one.nan_to_num(), other.nan_to_num()) and bool(one.isnan().any())
    )


@contextmanager
def _watched(hook: Callable[[nn.Module, object], None], *, eager: bool) -> Iterator[None]:
    """The hook is called before every module.

    Args:
        eager: compiled functions run as they were written, so that the hook sees into them.
    """
    compiling = "torch._dynamo" in sys.modules  # else nothing was compiled, and loading it takes seconds
    stance: AbstractContextManager[Any] = nullcontext()
    if compiling and eager:
        stance = torch.compiler.set_stance("force_eager")
    quiet: AbstractContextManager[Any] = warnings.catch_warnings() if compiling else nullcontext()
    handle = register_module_forward_pre_hook(hook)
    try:
        with quiet, stance:
            if compiling:  # torch warns that the hook is called once more for a compiled module, which does no harm
                warnings.filterwarnings("ignore", r".*when there are global hooks on modules", UserWarning)
            yield
    finally:
        handle.remove()


def _took_part(module: nn.Module, ran: set[int]) -> bool:
    """Whether it or a part of it ran; of TorchScript that is not known, and where nothing ran, a method did."""
    return not ran or any(id(part) in ran or isinstance(part, torch.jit.ScriptModule) for part in module.modules())


def _class_name(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return str(getattr(module, "original_name", type(module).__name__))
    inner = getattr(module, "_orig_mod", module)  # of a compiled one
    if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _class_name(inner.module)
    return type(inner).__qualname__.rpartition(".")[2]
