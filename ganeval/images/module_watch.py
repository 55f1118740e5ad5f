"""Find the modules that take part in a call of the user's code by watching it; they run in evaluation mode.

Names do not suffice: a generator may be reached through a dictionary, a default argument, a slot, a property or a
module.
PyTorch calls a global hook before every module that runs, and whoever runs is found by that. Modules of which only a
method runs (``forward`` itself, too) are found by the frames above such a call, and on the first batch by every call of
a method. TorchScript, whose inner modules and methods call no hooks, is looked for in what the callable refers to.

A module that runs in another thread takes part if that thread was started in the call or was waiting for work before
it. What a thread runs that was busy before stays as it is: it may be a training loop.

Compiled code is watched on the first batch, run as it was written: a hook inside it would compile it again for every
batch. No watching shows ``F.dropout(x, training=True)`` and the like: those have no mode.
"""

from __future__ import annotations

import sys
import sysconfig
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ganeval.images.module_search import find_modules, is_compiled

_TORCH = str(Path(torch.__file__).parent)
_LIBRARY = sysconfig.get_path("stdlib")
_PACKAGES = ("site-packages", "dist-packages")  # folders inside that of the standard library
_WAITING = {"wait", "get", "_worker", "worker", "select", "poll", "_recv"}  # functions of the library that wait
_TRIES = 3  # calls, each of which may meet modules that those before it did not
T = TypeVar("T")


class Watch:
    """Call the user's code with its modules in evaluation mode, and restore them afterwards.

    Mode and buffers (running statistics, power iterations, moving averages) are restored after every call, however it
    ends, once what it returned was used. Where a module is met in training mode, it is switched before its forward
    pass, its buffers are restored and the call is made again, since what ran before it may have looked at its mode.
    Buffers of another shape than before (a cache that grew) stay; parameters and gradients are never touched.

    Args:
        model: what is called; looked through for modules.
        keep_mode: leave the mode as it is.

    Attributes:
        switched: names of the classes that were met in training mode, outermost first.
        elsewhere: names of the classes that ran in training mode in other threads, and were left so.
    """

    def __init__(self, model: object, *, keep_mode: bool = False) -> None:
        self.keep_mode = keep_mode
        self.switched: dict[str, None] = {}
        self.elsewhere: dict[str, None] = {}
        self._named, self._compiled = find_modules(model)
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

    @contextmanager
    def __call__(self, call: Callable[[], T]) -> Iterator[T]:
        """Yield what ``call`` returns; it may be a buffer, and buffers are restored at the end.

        Args:
            call: may be called up to three times, and seeds what it draws by itself.
        """
        taking = _Call(self.keep_mode, id(sys._getframe()))
        try:
            for module in self.modules():
                taking.meet(module)
            for _ in range(_TRIES):
                taking.fresh = False
                with nullcontext() if self._looked and self._compiled else taking.watched(first=not self._looked):
                    made = call()
                if not taking.fresh:
                    break
                for state in taking.states.values():
                    state.restore_buffers()
            self._compiled = self._compiled or any(is_compiled(state.module) for state in taking.states.values())
            self._looked = True
            self.switched |= {_class_name(module): None for module, _ in taking.switched if taking.includes(module)}
            self.elsewhere |= taking.elsewhere
            yield made
        finally:
            self._first = self._first or taking.first
            self._remember(taking.met)
            taking.restore()

    def _remember(self, met: list[nn.Module]) -> None:
        known = self.modules()
        parts = {id(part) for module in (*known, *met) for part in module.modules() if part is not module}
        self._met = [one for one in self._met if one() is not None]
        self._met += [weakref.ref(one) for one in met if id(one) not in parts and all(one is not m for m in known)]


class _Call:
    """Modules that take part in one call, and their state before it.

    Args:
        keep_mode: they are not switched.
        end: id of the frame that calls (the frame itself would be a cycle); methods above it do not take part.
    """

    def __init__(self, keep_mode: bool, end: int) -> None:
        self.states: dict[int, _State] = {}
        self.met: list[nn.Module] = []
        self.switched: list[tuple[nn.Module, bool]] = []
        self.elsewhere: dict[str, None] = {}
        self.first: weakref.ref[nn.Module] | None = None
        self.fresh = False  # whether this try met modules in training mode
        self._keep_mode, self._end = keep_mode, end
        self._here, self._busy, self._lock = threading.get_ident(), _busy_threads(), threading.RLock()
        self._ran: set[int] = set()

    def meet(self, module: nn.Module) -> None:
        with self._lock:
            training = getattr(module, "training", False)  # TorchScript that is frozen has no mode
            if id(module) in self.states and (self._keep_mode or not training):
                return
            parts = list(module.modules())
            if id(module) not in self.states:
                self.met.append(module)
            for part in parts:
                if id(part) not in self.states:
                    self.states[id(part)] = _State.of(part)
            if not self._keep_mode and _trains(parts):
                self.fresh = True
                self.switched.append((module, training))
                module.eval()

    @contextmanager
    def watched(self, *, first: bool) -> Iterator[None]:
        """Register the modules that run inside.

        Args:
            first: what is compiled runs as it was written, and methods are watched too.
        """
        with _watched(self._before, eager=first), _calls_of_methods(self._begins) if first else nullcontext():
            yield

    def includes(self, module: nn.Module) -> bool:
        """Whether it or a part of it ran; of TorchScript that is not known, and where nothing ran, a method did."""
        parts = module.modules()
        return not self._ran or any(id(part) in self._ran or isinstance(part, torch.jit.ScriptModule) for part in parts)

    def restore(self) -> None:
        try:
            for module, training in self.switched:
                if training:
                    module.train()  # a module may do more than set a flag
        finally:
            for state in self.states.values():
                state.restore()

    def _before(self, module: nn.Module, _: object) -> None:
        if torch.compiler.is_compiling():  # what is being compiled was met when it was called
            return
        here = threading.get_ident() == self._here
        if here:
            self.first = self.first or weakref.ref(module)
        elif id(module) not in self.states and not _trains(module.modules()):  # networks of ganeval, for example
            return
        elif threading.get_ident() in self._busy:
            if id(module) not in self.states and not self._keep_mode:
                self.elsewhere[_class_name(module)] = None
            return
        above = () if id(module) in self.states else _owners(sys._getframe(1), self._end)
        for one in (*above, module):
            self._begins(one)

    def _begins(self, module: nn.Module) -> None:
        self._ran.add(id(module))
        self.meet(module)


def _trains(parts: Iterable[nn.Module]) -> bool:
    return any(getattr(part, "training", False) for part in parts)


@dataclass(frozen=True, slots=True)
class _State:
    """The state of one module without its children: its mode, and its buffers with their values."""

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
    """Call the hook before every module.

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


def _class_name(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return str(getattr(module, "original_name", type(module).__name__))
    inner = getattr(module, "_orig_mod", module)  # of a compiled one
    if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _class_name(inner.module)
    return type(inner).__qualname__.rpartition(".")[2]


# --- frames: a module whose ``forward`` is called calls no hook, but a method of it runs ------------------------


def _owners(frame: FrameType | None, end: int) -> list[nn.Module]:
    """Modules whose methods are running, outermost first.

    Args:
        frame: the innermost.
        end: id of the frame at which to stop; of no frame of this thread for the whole of it.
    """
    found: list[nn.Module] = []
    while frame is not None and id(frame) != end:
        if (module := _owner(frame)) is not None and all(module is not one for one in found):
            found.append(module)
        frame = frame.f_back
    return found[::-1]


@contextmanager
def _calls_of_methods(meet: Callable[[nn.Module], None]) -> Iterator[None]:
    """``meet`` is called as a method of a module begins in this thread; not where a profiler is already running."""

    def event(frame: FrameType, kind: str, _: Any) -> None:
        if kind == "call" and (module := _owner(frame)) is not None:
            meet(module)

    if sys.getprofile() is not None:
        yield
        return
    sys.setprofile(event)
    try:
        yield
    finally:
        sys.setprofile(None)


def _busy_threads() -> set[int]:
    """Threads that do other work: not this one, nor those that wait in the standard library, as in a pool.

    A thread that waits for a data loader of PyTorch is busy with what takes the batches.
    """
    here = threading.get_ident()
    return {ident for ident, frame in sys._current_frames().items() if ident != here and not _waits(frame)}


def _waits(frame: FrameType) -> bool:
    name, further = frame.f_code.co_filename, frame.f_back
    if frame.f_code.co_name not in _WAITING:
        return False
    while further is not None:
        if further.f_code.co_filename.startswith(_TORCH):
            return False
        further = further.f_back
    return name.startswith(_LIBRARY) and not any(folder in name for folder in _PACKAGES)


def _owner(frame: FrameType) -> nn.Module | None:
    """The module of which a frame runs a method; methods that PyTorch defines are called by hooks or change nothing."""
    code = frame.f_code
    if not code.co_argcount or code.co_name == "__init__" or code.co_filename.startswith(_TORCH):
        return None
    first = frame.f_locals.get(code.co_varnames[0])
    return first if isinstance(first, nn.Module) and "_modules" in vars(first) else None
