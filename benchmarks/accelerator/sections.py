"""The sections in order of importance, and how much time each of them gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST = 8.0  # seconds below which a section is not started
_SHARE = 0.35  # of the time of every later section that a section leaves to it
GRACE = 8.0  # seconds after its limit until a section is ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A module of this folder, which runs in a process of its own: a broken device context ends one section alone.

    Attributes:
        seconds: at most.
        timed: whether its figures are times, so that nothing may run beside it.
    """

    name: str
    seconds: float
    timed: bool
    about: str

    @property
    def module(self) -> str:
        return f"benchmarks.accelerator.{self.name.replace('-', '_')}"


MATERIAL = Section(name="material", seconds=75, timed=True, about="images and stand-in weights")
SECTIONS = (
    Section(name="gpu-tests", seconds=110, timed=False, about="the tests marked gpu"),
    Section(name="agreement", seconds=100, timed=False, about="the device against the CPU on the same inputs"),
    Section(name="surroundings", seconds=60, timed=False, about="what a surrounding program may have set"),
    Section(name="waits", seconds=60, timed=False, about="lines at which the host waits for the device"),
    Section(name="memory", seconds=60, timed=False, about="memory between calls, and a full card"),
    Section(name="network", seconds=75, timed=True, about="the machine's ceilings, the bare network, the program's"),
    Section(name="end-to-end", seconds=100, timed=True, about="files and generators against decoders and network"),
    Section(name="peers", seconds=60, timed=True, about="pytorch-fid on the same folders, with like arithmetic"),
    Section(name="neighbours", seconds=60, timed=True, about="neighbours, eigenvectors, Frechet distance, KID"),
    Section(name="variants", seconds=70, timed=True, about="the network compiled, fused, packed, as a graph"),
    Section(name="training", seconds=45, timed=True, about="DCGAN and CycleGAN: steps a second, repeats"),
    Section(name="ranks", seconds=60, timed=False, about="two ranks on one device"),
)


def limit(section: Section, left: float, later: Sequence[Section], scale: float = 1.0) -> float | None:
    """Seconds that a section may take, or None where too few are left.

    Args:
        left: seconds until the end of the whole run.
        later: sections that run after this one; each keeps a share of its own time.
        scale: of all limits.
    """
    reserved = sum(_SHARE * scale * other.seconds for other in later)
    seconds = min(scale * section.seconds, left - reserved)
    return seconds if seconds >= LEAST else None
