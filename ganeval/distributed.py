"""torch.distributed as this package uses it: who am I, did every rank come, sums and gathers; on one process, nothing.

Every rank makes the same calls. Before each collective the ranks tell each other which call they are at, or why they
failed, over a gloo group of their own: a rank that fails ends all with its message, one that has ended is noticed, and
one that never comes is named after a timeout. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ganeval.errors import ConfigError, GanEvalError
from ganeval.parsing.variables import count, rank_and_size

if TYPE_CHECKING:
    import torch

TIMEOUT = 600.0  # seconds that ranks wait for each other; GANEVAL_RANK_TIMEOUT
_MESSAGE = 1024  # bytes in which a rank says where it is
_FAREWELL = 30.0  # seconds in which a rank that failed waits for the others to hear why


class RankError(GanEvalError):
    """Another rank failed, ended, or did not come; or this one came to another call."""

    kind = "rank"


@dataclass(frozen=True, slots=True)
class Group:
    """The processes that share a run; of one process, everything is at once what it was.

    Attributes:
        rank: this process.
        size: how many there are.
        timeout: seconds to wait for a rank.
    """

    rank: int = 0
    size: int = 1
    timeout: float = TIMEOUT
    _control: Any = None  # a gloo group, for what is said between calls and for data on the host
    _device: torch.device | None = None  # where data goes through NCCL

    def agree(self, call: str) -> None:
        """All ranks have come to ``call``.

        Raises:
            RankError: one failed, and says why; one has ended; one did not come in time; one is at another call.
        """
        if self.size > 1:
            self._exchange(call, None, self.timeout)

    def tell(self, error: BaseException, call: str) -> None:
        """Let the others know that this rank cannot go on; they raise it where they agree next."""
        if self.size > 1 and not isinstance(error, RankError):
            kind = error.kind if isinstance(error, GanEvalError) else "internal"
            message = " ".join(str(error).split()) if isinstance(error, GanEvalError) else repr(error)
            with contextlib.suppress(RankError):
                self._exchange(call, f"{kind}: {message}", min(self.timeout, _FAREWELL))

    @contextlib.contextmanager
    def together(self, call: str) -> Iterator[None]:
        """What fails in here on one rank fails on all."""
        try:
            yield
        except Exception as error:
            self.tell(error, call)
            raise

    def _exchange(self, call: str, failure: str | None, timeout: float) -> None:
        import torch
        import torch.distributed as dist

        said = json.dumps({"call": call, "failure": failure}).encode()[:_MESSAGE]
        if len(said) == _MESSAGE:  # cut to what fits
            said = json.dumps({"call": call, "failure": (failure or "")[: _MESSAGE // 8] + "..."}).encode()
        mine = torch.frombuffer(bytearray(said.ljust(_MESSAGE)), dtype=torch.uint8)
        others = [rank for rank in range(self.size) if rank != self.rank]
        heard = {rank: torch.zeros(_MESSAGE, dtype=torch.uint8, device="cpu") for rank in others}
        deadline = time.monotonic() + timeout
        rank = others[0]
        try:
            receiving = {rank: dist.irecv(heard[rank], src=rank, group=self._control) for rank in others}
            sending = {rank: dist.isend(mine, dst=rank, group=self._control) for rank in others}
            for works in (receiving, sending):
                for peer, work in works.items():
                    rank = peer
                    work.wait(timedelta(seconds=max(0.001, deadline - time.monotonic())))  # type: ignore[union-attr]
        except RuntimeError as error:
            raise RankError(_absent(rank, call, timeout, time.monotonic() >= deadline, error)) from error
        answers = {rank: json.loads(tensor.numpy().tobytes()) for rank, tensor in heard.items()}
        for rank, answer in answers.items():
            if answer["failure"] is not None and failure is None:
                raise RankError(f"rank {rank} failed: {answer['failure']}")
        for rank, answer in answers.items():
            if answer["call"] != call and failure is None:
                raise RankError(
                    f"rank {self.rank} is at {call}, rank {rank} at {answer['call']}: every rank must make the same "
                    "calls in the same order."
                )

    # --- data, the same call on every rank ---------------------------------------------------------------------

    def sums(self, arrays: Sequence[np.ndarray], call: str) -> list[np.ndarray]:
        """Each array added up over the ranks, in its own precision: (float64, int64), the same shapes everywhere."""
        if self.size == 1:
            return list(arrays)
        import torch
        import torch.distributed as dist

        self.agree(call)
        out = []
        for array in arrays:
            tensor = torch.from_numpy(np.array(array)).to(self._device or "cpu")
            dist.all_reduce(tensor, group=self._data)
            out.append(tensor.cpu().numpy().reshape(array.shape))
        return out

    def gather(self, array: np.ndarray, call: str) -> list[np.ndarray]:
        """Every rank's array, by rank: the same type and the same shape but for the first axis, which may be empty."""
        if self.size == 1:
            return [array]
        import torch
        import torch.distributed as dist

        self.agree(call)
        device = self._device or "cpu"
        counts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(array)], device=device), group=self._data)
        sizes = [int(count) for count in counts]
        row = int(np.prod(array.shape[1:], dtype=np.int64)) * array.itemsize
        raw = np.zeros(max(sizes) * row, np.uint8)
        mine = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        raw[: mine.size] = mine
        tensors = [torch.zeros(raw.size, dtype=torch.uint8, device=device) for _ in range(self.size)]
        dist.all_gather(tensors, torch.from_numpy(raw).to(device), group=self._data)
        return [
            tensor.cpu().numpy()[: size * row].view(array.dtype).reshape(size, *array.shape[1:])
            for tensor, size in zip(tensors, sizes, strict=True)
        ]

    def gather_json(self, value: Any, call: str) -> list[Any]:
        """What every rank says, by rank, in values that JSON can hold."""
        if self.size == 1:
            return [value]
        said = np.frombuffer(json.dumps(value).encode(), np.uint8)
        return [json.loads(one.tobytes()) for one in self.gather(said, call)]

    @property
    def _data(self) -> Any:
        return self._control if self._device is None else None  # None: the default group, which has NCCL

    # --- work that is divided ------------------------------------------------------------------------------------

    def share(self, n: int) -> slice:
        """This rank's run of ``n`` things."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)


ONE = Group()
_alone: list[bool] = []
_stores: list[tuple[Any, int, int]] = []  # by which ranks find each other, with rank and size: one at most
_made: list[int] = []  # groups that were made here, so that each has keys of its own in the store
_known: list[tuple[Any, Any]] = []  # (the user's default group, our gloo group): one pair at most


def stay_alone() -> None:
    """From now on nothing in this process is shared, even under torchrun."""
    _alone.append(True)


@contextlib.contextmanager
def joined(*, sync: bool = True, timeout: float | None = None, device: object = "auto") -> Iterator[Group]:
    """The group of this run: the user's process group, or torchrun's processes, or this one alone.

    Under torchrun without a process group one is made (gloo, and NCCL where there is CUDA), and destroyed at the end.

    Args:
        sync: False: this process alone, whatever there is.
        timeout: seconds to wait for a rank; default ``GANEVAL_RANK_TIMEOUT``, else 600.
        device: as the user named it; unless it is the CPU, data goes through NCCL where there is CUDA and the group
            has it.

    Raises:
        RankError: not all ranks came.
    """
    if not sync or not _several():
        yield ONE
        return
    import torch
    import torch.distributed as dist

    seconds = _timeout(timeout)
    own = not dist.is_initialized()
    index = accelerator_index() if device != "cpu" and torch.cuda.is_available() else None
    if own:
        # NCCL refuses two ranks on one GPU; what they have to say to each other is little, and gloo says it
        nccl = index is not None and count("LOCAL_WORLD_SIZE", default=1, least=1) <= torch.cuda.device_count()
        _make_group("cpu:gloo,cuda:nccl" if nccl else "gloo", seconds)
    try:
        through = None
        if index is not None and "nccl" in str(dist.get_backend_config()):
            through = torch.device("cuda", index)
        with torch.cuda.device(index) if own and index is not None else contextlib.nullcontext():
            yield Group(dist.get_rank(), dist.get_world_size(), seconds, _control_group(seconds), through)
    finally:
        if own and dist.is_initialized():
            _known.clear()
            dist.destroy_process_group()


def accelerator_index() -> int | None:
    """Which CUDA device is this rank's, where torchrun or a process group has several ranks; None: the current one.

    A device that the program has set itself stays; else it is the one of the rank's number on its machine, and several
    ranks share one where there are more of them.
    """
    import torch

    if not _several():
        return None
    # to ask before CUDA is in use would make a context on the first card
    current = torch.cuda.current_device() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]
    index = local_index(torch.cuda.device_count())
    return current if current or index is None else index


def local_index(cards: int) -> int | None:
    """Which of ``cards`` accelerators torchrun meant for this process; None where it did not start it."""
    if not os.environ.get("LOCAL_RANK") or not _several() or cards < 1:
        return None
    return count("LOCAL_RANK", default=0) % cards


def _several() -> bool:
    import torch.distributed as dist

    if _alone or not dist.is_available():
        return False
    if dist.is_initialized():
        return dist.get_world_size() > 1
    return rank_and_size()[1] > 1


def _make_group(backend: str, seconds: float) -> None:
    """The default group, from one store for the life of the process: a second on the same port would race with it."""
    import torch.distributed as dist
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    wait = timedelta(seconds=seconds)
    try:
        if not _stores:
            _stores.append(next(rendezvous("env://", timeout=wait)))
        store, rank, size = _stores[0]
        _made.append(len(_made))
        dist.init_process_group(
            backend, store=PrefixStore(f"ganeval/{_made[-1]}", store), rank=rank, world_size=size, timeout=wait
        )
    except RuntimeError as error:
        raise RankError(
            f"not all ranks met within {seconds:g} s ({_short(error)}): every rank must make the same calls. Or take "
            "sync=False for a call of one rank alone."
        ) from error


def _control_group(seconds: float) -> Any:
    import torch.distributed as dist

    world = dist.group.WORLD
    if not _known or _known[0][0] is not world:
        try:
            made = dist.new_group(backend="gloo", timeout=timedelta(seconds=seconds))
        except RuntimeError as error:
            raise RankError(
                f"rank {dist.get_rank()} found no connection to all others within {seconds:g} s: every rank must make "
                f"the same calls ({_short(error)}). Or take sync=False for a call of one rank alone."
            ) from error
        _known[:] = [(world, made)]
    return _known[0][1]


def _timeout(given: float | None) -> float:
    text = (os.environ.get("GANEVAL_RANK_TIMEOUT") or TIMEOUT) if given is None else given
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(
            f"ranks wait for each other a number of seconds above 0 (GANEVAL_RANK_TIMEOUT); got {text!r}."
        )
    return seconds


def _absent(rank: int, call: str, timeout: float, late: bool, error: BaseException) -> str:
    if late:
        return (
            f"rank {rank} did not come to {call} within {timeout:g} s. Every rank must make this call; code of one "
            "rank alone takes sync=False. A longer wait: GANEVAL_RANK_TIMEOUT=SECONDS."
        )
    return f"rank {rank} ended before {call} ({_short(error)}); its own output says why."


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^\[[^]]*\] ", "", lines[0])[:100]
