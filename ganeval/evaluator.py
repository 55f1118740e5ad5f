"""Metrics inside a training loop: the reference is measured once, fakes come in as they are made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import msgspec
import numpy as np
import torch
from torch import Tensor

from ganeval.engine.accumulator import SetAccumulator
from ganeval.engine.config import NOT_IN_EVALUATOR, EvaluationConfig, all_options, configure, documented
from ganeval.engine.inputs import LATER, open_images_alone, require_enough
from ganeval.engine.loop import accumulate
from ganeval.engine.runtime import Runtime, started
from ganeval.engine.session import Session
from ganeval.engine.sharding import gathered
from ganeval.errors import ConfigError, IncomparableError, InputError, warn
from ganeval.images.class_labels import like_real, read_labels
from ganeval.images.grammar import spec_or_object
from ganeval.images.module_search import unwrap_distributed
from ganeval.images.types import ImageSource, NumberedSource
from ganeval.images.user_models import keep_random_states
from ganeval.parsing.arguments import CALLABLE, FLAG, NUMBER, RANGE, WHOLE, require_known
from ganeval.parsing.documents import Count, parse_json, typed
from ganeval.results import Evaluation

if TYPE_CHECKING:
    from typing import Unpack

    from ganeval.engine.signatures import EvaluatorOptions

Log = Callable[[dict[str, float], int], None]


class _Progress(msgspec.Struct):
    """The numbers in the state of an Evaluator, besides what it is of."""

    drawn: Count
    computed: Count


class Evaluator:
    """``evaluate`` with the fakes given bit by bit: the same engine, the same numbers.

    The reference is opened, looked at and measured when this is made, so that what is wrong is said before the first
    epoch; ``reset`` forgets the fakes and never the reference. The networks are no part of anybody's module. A
    generator runs in evaluation mode without gradients where it is; its mode, its device, its gradients and all random
    states are afterwards as they were. Between calls the networks are off the accelerator and their memory is given
    back (unless ``keep_on_device``), so that a training step finds as much as before.

    Under torchrun or in a process group every rank makes every call but ``update``: ``update`` takes each rank's own
    images, ``update_from`` shares the n images out, ``compute`` gives every rank the same result.

    Args:
        reference: images or statistics: anything that ``evaluate`` takes as REAL; None for metrics of the fakes alone.
        reference_as: ``sample`` or ``population``: the option ``reference`` of ``evaluate``.
        log: called by the first rank with ``Evaluation.flat()`` and the step whenever ``compute`` has a result.
        keep_on_device: leave the networks on the accelerator between calls: faster for many small updates.
        timeout: seconds to wait for another rank; default ``GANEVAL_RANK_TIMEOUT``, else 600.

    All other options are those of ``evaluate``; ``num_samples`` is of a reference that is rendered or generated.

    >>> images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    >>> with Evaluator(images, protocol="compact", device="cpu") as evaluator:
    ...     evaluator.update(images[:8])
    ...     evaluator.update(images[8:])
    ...     round(evaluator.compute()["fid"].value, 6)
    0.0

    Raises:
        GanEvalError: as ``evaluate``.
    """

    @documented(EvaluationConfig, without=NOT_IN_EVALUATOR)
    def __init__(
        self,
        reference: object,
        *,
        reference_as: str | None = None,
        log: Log | None = None,
        keep_on_device: bool = False,
        timeout: float | None = None,
        **options: Unpack[EvaluatorOptions],
    ) -> None:
        require_known(options, (name for name in all_options(EvaluationConfig) if name not in NOT_IN_EVALUATOR))
        config = configure(EvaluationConfig, {**options, "reference": reference_as})
        self.log = CALLABLE.or_none()("log", log)
        self.keep_on_device = FLAG("keep_on_device", keep_on_device)
        self._stack, self._closed, self._computed, self._drawn = ExitStack(), False, 0, 0
        self._lent = False  # whether reference and networks are those of another one, of which this is a clone
        self._clones: WeakSet[Evaluator] = WeakSet()
        named = {"real": reference, "fake": LATER, "test": config.test}
        given = {name: spec_or_object(one) for name, one in named.items() if one is not None}
        seconds = NUMBER.or_none()("timeout", timeout)
        with ExitStack() as stack:  # closed if anything below fails
            with keep_random_states():
                runtime = stack.enter_context(started(config, "Evaluator", sync=config.sync, timeout=seconds))
                self._session = Session(given, config, runtime)
                plan = self._session.plan
                self._measured = {name: self._session.measure(name) for name in plan.sets if name != "fake"}
                self._fakes = self._new_accumulator()
            self._stack = stack.pop_all()
        self._release()

    @property
    def n(self) -> int:
        """Number of fakes that this rank has seen since the last ``reset``."""
        self._require_open()
        return self._fakes.n

    # --- fakes -------------------------------------------------------------------------------------------------

    def update(self, images: object, *, value_range: tuple[float, float] | None = None) -> None:
        """Add images: a batch (N, 3, H, W) or (N, H, W, 3), a folder, a data set: whatever ``open_images`` takes.

        Args:
            images: uint8, or floats in ``value_range``; on any device; of this rank alone.
            value_range: of floats; default the Evaluator's.
        """
        with self._exclusive("update", together=False):
            source = self._opened(images, value_range)
            options = replace(self._session.config, progress=None)
            accumulate(self._fakes, "fake", source, options, self._runtime, call="update", shared=False)

    def update_from(self, generator: object, n: int, *, value_range: tuple[float, float] | None = None) -> None:
        """Add ``n`` images that a generator makes.

        Latent, label and noise of image i depend on (seed, i) alone, and i counts from 0 after every ``reset``: every
        epoch sees the same latents. The ranks of a group share the n images.

        Args:
            generator: a callable z -> images, see ``GeneratedSource``; it runs where it is.
            n: images, of all ranks together.
            value_range: of floats; default the Evaluator's, else the generator's own.
        """
        n = WHOLE.from_(1)("n", n)
        with self._exclusive("update_from"):
            source = self._opened(unwrap_distributed(generator), value_range, num_samples=self._drawn + n)
            if isinstance(source, NumberedSource) and self._drawn:
                source = source.part(range(self._drawn, self._drawn + n), {"n": n, "from": self._drawn})
            accumulate(self._fakes, "fake", source, self._session.config, self._runtime, call="update_from")
            self._drawn += n

    def compute(self, step: int | None = None) -> Evaluation:
        """Every metric, of the fakes so far; more may follow.

        Args:
            step: for ``log``; default how often this was called.

        Returns:
            Evaluation: as ``evaluate`` gives it, the same on every rank.

        Warns:
            GanEvalWarning: each of the result's ``warnings``, on the first rank, after ``log``.
        """
        began = time.perf_counter()
        with self._exclusive("compute") as stack:
            whole = gathered(self._fakes, self._runtime.group, "compute")
            if whole is not self._fakes:
                stack.callback(whole.close)
            require_enough("fake", whole.n, {**whole.described(), "kind": "updates"}, self._session.minimum)
            evaluation = self._session.finish({**self._measured, "fake": whole.finish("fake")}, began)
        self._computed += 1
        with self.together("log"):  # where the first rank fails here, the others must not take it for done
            if self._runtime.group.rank == 0:
                if self.log is not None:
                    self.log(evaluation.flat(), self._computed if step is None else step)
                warn(evaluation.warnings)
            self._runtime.group.agree("log")
        return evaluation

    def clone(self) -> Evaluator:
        """Another Evaluator on the same reference and networks, with the same fakes so far and its own from here on.

        ``copy.deepcopy`` gives it too. It is closed when this one is.
        """
        self._require_open()
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._stack, other._lent, other._clones = ExitStack(), True, self._clones
        other._fakes = self._new_accumulator()
        other._fakes.merge(self._fakes)
        self._clones.add(other)
        return other

    def __deepcopy__(self, memo: dict[int, object]) -> Evaluator:
        return self.clone()

    def __reduce__(self) -> tuple[object, ...]:
        raise ConfigError(
            "an Evaluator holds networks and open files and cannot be pickled. Save what state_dict() gives, and "
            "load it into another Evaluator of the same arguments."
        )

    def reset(self) -> None:
        """Forget the fakes, and begin with the first latents again; the reference stays."""
        self._require_open()
        self._fakes.close()
        self._fakes, self._drawn = self._new_accumulator(), 0

    def merge(self, other: Evaluator) -> None:
        """Add the fakes of another Evaluator of the same reference, metrics and protocol; it is left as it is.

        Raises:
            IncomparableError: it is of others.
        """
        self._require_open()
        other._require_open()
        self._require_same(other._identity(), "the other Evaluator")
        self._fakes.merge(other._fakes)
        self._drawn = max(self._drawn, other._drawn)

    # --- saving ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """The fakes so far, of this rank, as tensors alone (``torch.load`` with ``weights_only``, safetensors)."""
        self._require_open()
        plain = {**self._identity(), "drawn": self._drawn, "computed": self._computed}
        state = {name: torch.from_numpy(np.array(array)) for name, array in self._fakes.to_arrays().items()}
        state["evaluator"] = torch.frombuffer(bytearray(json.dumps(plain).encode()), dtype=torch.uint8)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what ``state_dict`` gave, in place of the fakes so far.

        Raises:
            IncomparableError: it is of another reference, other metrics or another protocol.
            InputError: it is no such state.
        """
        self._require_open()
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}
        try:
            plain = parse_json(arrays["evaluator"].tobytes())
            progress = typed(plain, _Progress)
            del plain["drawn"], plain["computed"]
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"this is no state of an Evaluator: {error!r}. Pass what state_dict() gave.") from error
        self._require_same(plain, "the state")
        fakes = self._new_accumulator()
        try:
            fakes.load(arrays)
        except BaseException:
            fakes.close()
            raise
        self._fakes.close()
        self._fakes, self._drawn, self._computed = fakes, progress.drawn, progress.computed

    # --- the end -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Drop networks, reference and fakes; a process group that was made here ends. May be called twice."""
        if not self._closed:
            self._closed = True
            self._fakes.close()
            if not self._lent:
                for clone in list(self._clones):
                    clone.close()
                self._stack.close()
                self._session.networks.release()
                self._session.networks.extractors.clear()
                self._measured.clear()
            del self._session, self._fakes

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def together(self, call: str) -> AbstractContextManager[None]:
        """What fails in here on one rank fails on all of them where they meet next."""
        return self._runtime.group.together(call)

    # --- inside ------------------------------------------------------------------------------------------------

    @contextmanager
    def _exclusive(self, call: str, *, together: bool = True) -> Iterator[ExitStack]:
        """The user's program stands still: its random states are kept, and afterwards its accelerator is free again."""
        self._require_open()
        with keep_random_states(), ExitStack() as stack:
            stack.callback(self._release)
            if together:
                stack.enter_context(self._runtime.group.together(call))
                self._runtime.group.agree(call)
            yield stack

    @property
    def _runtime(self) -> Runtime:
        return self._session.runtime

    def _opened(
        self, images: object, value_range: tuple[float, float] | None, num_samples: int | None = None
    ) -> ImageSource:
        config = self._session.config
        real = self._session.plan.sets.get("real")
        value_range = RANGE.or_none()("value_range", value_range) or config.value_range
        options = replace(config, value_range=value_range, num_samples=num_samples)
        options = like_real(options, None if real is None else real.images)
        if options.labels is not None and num_samples is not None:
            options = replace(options, labels=read_labels(options.labels)[:num_samples].tolist())
        source = open_images_alone("fake", images, options, device=None, minimum=1)
        if source.decode_policy not in (None, self._session.plan.protocol.decode):
            raise ConfigError(
                f"{source.spec} holds image files of more than 8 bits, decoded as {source.decode_policy}; the "
                f"reference was decoded as {self._session.plan.protocol.decode}. Give this Evaluator 8-bit images, or "
                "arrays."
            )
        return source

    def _new_accumulator(self) -> SetAccumulator:
        session = self._session
        extractors, requirements = session.networks.extractors, session.plan.requirements["fake"]
        return SetAccumulator(
            extractors, requirements, memory=session.config.feature_memory, grouping=session.groupings.get("fake")
        )

    def _identity(self) -> dict[str, Any]:
        """What two Evaluators must share for their fakes to be of one kind."""
        real, session = self._measured.get("real"), self._session
        layers = self._fakes.requirements.items()
        return {
            "reference": None if real is None else real.digest,
            "statistics": [one.digest for one in real.statistics.values()] if real and real.statistics else None,
            "metrics": [task.metric.name for task in session.plan.tasks],
            "protocols": [protocol.key() for protocol in session.networks.bound.values()],
            "layers": [[p.key(), layer, required.moments, required.rows] for (p, layer), required in layers],
            "seed": session.config.seed,
        }

    def _require_same(self, other: Mapping[str, Any], what: str) -> None:
        mine = self._identity()
        if differing := [name for name in mine if mine[name] != other.get(name)]:
            told = "; ".join(f"{name}: {mine[name]} against {other.get(name)}" for name in differing)
            raise IncomparableError(
                f"{what} is of another {', '.join(differing)} ({told}). Make both with the same arguments."
            )

    def _release(self) -> None:
        if not self.keep_on_device and not self._closed:
            self._session.networks.release()

    def _require_open(self) -> None:
        if self._closed:
            raise ConfigError("this Evaluator was closed; make another one.")
