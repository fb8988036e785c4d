"""The contract of NEST-named devices.

A device names its `parameters`, and is of one of these kinds: it gives a current (`CurrentGenerator`), spikes of its own for
every target (`CountGenerator`, `OccupationGenerator`), the same spikes to all (`TrainGenerator`), a rate (`RateGenerator`), or
records (`SpikeRecorder`, `WeightRecorder`, `Meter`). What wires them up knows these kinds and no single device.

A generator is active in the steps n with start < n + lead <= stop, in steps after `origin`. What it sends in step n comes with a
delay of D steps at the end of step n + D, as a spike; as a current it acts in step n + D + 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from dist_sim.errors import ParameterError, UnknownNameError
from dist_sim.nest.devices.settings import FOREVER, Setting, Time
from dist_sim.network.stimulus import Targets

WINDOW: Mapping[str, Setting] = {"origin": Time(), "start": Time(), "stop": Time(default=np.inf, finite=False)}


class Device(ABC):
    """`size` devices of a model: after it is made, each of its parameters is an attribute in bare numbers.

    Args:
        dt: the step, ms.
        given: parameters by name.

    Attributes:
        resolution: the step, ms.
        start, stop: (size,) int64 steps, after the origin.

    Raises:
        UnknownNameError, UnitError, ParameterError: what is given does not fit.
    """

    parameters: ClassVar[Mapping[str, Setting]]
    # What its methods in the step may read of it: another value is another program. All other numbers come as arguments, in `p`.
    structure: ClassVar[tuple[str, ...]] = ("resolution",)
    fixed: ClassVar[tuple[str, ...]] = ()  # what must be said before the device is connected

    def __init__(self, size: int, dt: float, given: Mapping[str, Any]):
        known = self.known()
        for name in given:
            if name not in known:
                raise UnknownNameError("parameter", name, known, where=type(self).__name__)
        self.size, self.resolution, self._given = size, dt, given
        for name, setting in known.items():
            setattr(self, name, setting.read(given.get(name), size, dt, self.where(name)))
        if (self.stop < self.start).any():
            raise ParameterError(f"{self.where('stop')}: must not lie before start={given.get('start', '0 ms')}.")
        self.start, self.stop = (np.minimum(t + self.origin, FOREVER) for t in (self.start, self.stop))
        self.check()
        del self._given

    def __getattr__(self, name: str) -> Any:
        # Only for what is not found otherwise.
        raise AttributeError(
            f"{type(self).__name__} has no {name!r}. In the step it has what its `structure` names "
            f"({', '.join(self.structure)}); its other numbers come in `p`, as `numbers` gives them."
        )

    origin: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @classmethod
    def known(cls) -> Mapping[str, Setting]:
        """All that may be given, by name."""
        return {**cls.parameters, **WINDOW}

    def check(self) -> None:  # noqa: B027
        """Looks at what must fit together, and derives what the step needs."""

    def where(self, name: str, number: int | None = None) -> str:
        value = "..." if number is not None else str(self._given.get(name))[:40]
        return f"{type(self).__name__}({name}={value}{'' if number is None else f' of device {number}'})"


class Generator(Device):
    """A device that stimulates."""

    lead: ClassVar[int] = 0

    @property
    def active(self) -> tuple[np.ndarray, np.ndarray]:
        """(size,) int64 each: the first step in which it sends, and the first in which it no longer does."""
        first = np.maximum(self.start - self.lead + 1, 0)
        return first, np.maximum(np.minimum(self.stop - self.lead + 1, FOREVER), first)


class CurrentGenerator(Generator):
    """Gives currents, times the connection's weight."""

    lead: ClassVar[int] = 2

    @abstractmethod
    def numbers(self) -> Mapping[str, np.ndarray]:
        """What `current` needs of each device: (size, ...) arrays by name."""

    @abstractmethod
    def current(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        """(n,) or (1,) pA that each target gets in a step in which its generator is active."""


class CountGenerator(Generator):
    """Sends every target spikes of its own, which no synapse can change.

    Attributes:
        whole: whether `counts` are numbers of spikes; else they are factors of the connection's weight.
    """

    whole: ClassVar[bool] = True

    @abstractmethod
    def numbers(self) -> Mapping[str, np.ndarray]:
        """What `counts` needs of each device: (size, ...) arrays by name."""

    @abstractmethod
    def counts(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        """(n,) or (1,) int32: spikes that each target gets in a step in which its generator is active."""

    @abstractmethod
    def largest(self) -> np.ndarray:
        """(size,) the largest count there can be in a step."""


class SteadyPoissonGenerator(CountGenerator):
    """Independent Poisson numbers whose mean never changes: what the kernels can do at once for all neurons.

    Attributes:
        mean: (size,) spikes per step.
    """

    mean: np.ndarray


class OccupationGenerator(Generator):
    """Sends every target spikes of its own, which come of numbers that each target keeps: (bins, n) int32."""

    @property
    @abstractmethod
    def bins(self) -> int:
        """How many numbers each target keeps."""

    @abstractmethod
    def numbers(self) -> Mapping[str, np.ndarray]:
        """What `advance` needs of each device: (size, ...) arrays by name."""

    @abstractmethod
    def initial(self) -> np.ndarray:
        """(size, bins) what the targets of each device begin with."""

    @abstractmethod
    def advance(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(n,) int32 spikes that each target gets in a step in which its generator is active, and what it keeps then."""

    @abstractmethod
    def largest(self) -> np.ndarray:
        """(size,) the largest count there can be in a step."""


class TrainGenerator(Generator):
    """Sends all its targets the same spikes, known in advance. Each device has a global id, and its spikes travel along
    synapses."""

    lead: ClassVar[int] = 1

    @abstractmethod
    def trains(self, seed: int, number: int) -> list[np.ndarray]:
        """Per device, the steps (k,) int64 in which it sends a spike, ascending; several in one step are as many.

        Args:
            number: of the device among all nodes, a key of random numbers.
        """

    @property
    def by_synapses(self) -> bool:
        """Whether its spikes are alike, so that synapses can pass them on."""
        return True

    def within(self, steps: np.ndarray, device: int) -> np.ndarray:
        """Those of some steps in which a device is active."""
        first, last = (t[device] for t in self.active)
        return (steps >= first) & (steps < last)


class RateGenerator(Generator):
    """Gives a rate to rate neurons."""

    lead: ClassVar[int] = 2


class Recorder(Device):
    """A device that takes down what has a time stamp t with start < t <= stop."""


class SpikeRecorder(Recorder):
    """Receives spikes: `connect(neurons, recorder)`."""


class WeightRecorder(Recorder):
    """Takes down what synapses pass on.

    Attributes:
        senders, targets: global ids of those to be looked at; None for all.
    """

    senders: np.ndarray | None
    targets: np.ndarray | None


class Meter(Recorder):
    """Samples states of neurons: `connect(meter, neurons)`.

    Attributes:
        interval: steps between samples; record_from: names of states.
    """

    fixed: ClassVar[tuple[str, ...]] = ("record_from", "interval")
    interval: Any
    record_from: tuple[str, ...]

    def check(self) -> None:
        for name in ("interval", "start", "stop"):
            if (vars(self)[name] != vars(self)[name][0]).any():
                raise ParameterError(f"{self.where(name)}: one for all meters of a call. Create others for another {name}.")
        self.interval = int(self.interval[0])
