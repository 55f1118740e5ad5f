"""What a run computes with: ranks, device, cache; looked up once, and handed down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch

from ganeval.distributed import Group, joined
from ganeval.engine.config import MAX_WORKERS, InputOptions, NetworkOptions
from ganeval.features.cache import FeatureCache, open_cache
from ganeval.features.devices import choose_device, give_back
from ganeval.images.threads import usable_cores
from ganeval.images.types import ImageSource
from ganeval.images.workers import start_method


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a run computes with.

    Attributes:
        group: the processes that share the run.
        cache: None: no features are recalled or kept.
        stack: closes what was opened, at the end of the run.
    """

    group: Group
    device: torch.device
    cache: FeatureCache | None
    stack: ExitStack

    def workers(self, source: ImageSource, options: InputOptions) -> int:
        """Decoding processes for a source.

        By default none of a user's own data set, whose open files they would share, and none on the CPU, where the
        network is the slow part; else one a core but one, at most 32. Of the cores, only those that this process may
        use, and each of this machine's ranks takes its share of them.
        """
        if options.workers is not None:
            return options.workers
        # where processes are spawned, a script without a main guard would be run again in each: they must be asked for
        if not source.reopens or self.device.type == "cpu" or start_method() != "fork":
            return 0
        return max(1, min(MAX_WORKERS, usable_cores() - 1))


@contextmanager
def started(config: NetworkOptions, call: str, *, sync: bool = True, timeout: float | None = None) -> Iterator[Runtime]:
    """Join the other ranks, choose the device, open the cache; at the end everything is given back.

    Args:
        call: what every rank is about to do, for messages.
        sync: False: this rank alone.
        timeout: seconds to wait for another rank.

    Raises:
        ConfigError: there is no such device here.
        RankError: another rank failed, or did not come.
    """
    with ExitStack() as stack:
        group = stack.enter_context(joined(sync=sync, timeout=timeout, device=config.device))
        stack.enter_context(group.together(call))
        group.agree(call)
        device = choose_device(config.device)
        stack.callback(give_back, device)
        cache = open_cache(config.cache)
        if cache is not None:
            cache.warns = group.rank == 0
        yield Runtime(group, device, cache, stack)
