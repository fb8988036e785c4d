"""What a neuron model declares of itself: parameters, states, receptors, recordables.

A model is these and the text of its step. On neurons that run alone, `neurons.tau_m` and `neurons.V_m` are quantities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim.errors import ParameterError

LONGEST = 1e6  # ms of a time in steps: as steps of 1 us it still fits 32 bits


@final
@dataclass(frozen=True)
class Parameter:
    """A parameter, which a user may give for all neurons or for each.

    Attributes:
        unit: a brainunit unit; `u.UNITLESS` for a number.
        default: in that unit. A bool makes it a switch, an int a whole number; a tuple a list of numbers along `axis`.
        above, at_least, below, at_most: bounds, in that unit.
        steps: a time that the step has as a whole number of steps.
        relative_to: the name of a potential that the step has it relative to: `E_L`.
        axis: of a list: lists of one axis have one length, `receptor` that of the ports.
        fill: of a list, what stands where a neuron has fewer entries than another.
    """

    unit: Any
    default: float | int | bool | tuple[float, ...]
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    steps: bool = False
    relative_to: str | None = None
    axis: str | None = None
    fill: float = 0.0
    name: str = field(default="", init=False, compare=False)

    def __post_init__(self) -> None:
        # 1 / u.mV is a quantity: what it is one of.
        object.__setattr__(self, "unit", u.get_unit(self.unit) if isinstance(self.unit, u.Quantity) else self.unit)
        if (self.axis is None) == isinstance(self.default, tuple):
            raise ParameterError(
                f"Parameter(default={self.default!r}, axis={self.axis!r}): a list has an axis, a number has none."
            )

    @property
    def is_switch(self) -> bool:
        return isinstance(self.default, bool)

    @property
    def is_whole(self) -> bool:
        """Whether the step has it as a whole number."""
        return self.steps or isinstance(self.default, int)

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)

    def __get__(self, neurons: Any, owner: type) -> Any:
        return self if neurons is None else neurons.parameter(self.name)

    def check(self, lowest: float, highest: float, where: str, hint: str = "") -> None:
        """Raises ParameterError where not all numbers between these are allowed."""
        unit = "" if u.have_same_dim(self.unit, u.UNITLESS) else f" {self.unit}"
        if self.steps and highest > LONGEST:
            raise ParameterError(f"{where}: can be at most {LONGEST:g} ms. Is the unit right?")
        for bound, refused, words in (
            (self.above, lambda b: lowest <= b, "above"), (self.at_least, lambda b: lowest < b, "at least"),
            (self.below, lambda b: highest >= b, "below"), (self.at_most, lambda b: highest > b, "at most"),
        ):  # fmt: skip
            if bound is not None and refused(bound):
                raise ParameterError(f"{where}: must be {words} {bound:g}{unit}.{hint}")
        fraction = lowest != np.floor(lowest) or highest != np.floor(highest)
        if isinstance(self.default, int) and (fraction or (self.is_switch and (lowest < 0 or highest > 1))):
            raise ParameterError(f"{where}: must be {'True or False' if self.is_switch else 'a whole number'}.")


@final
@dataclass(frozen=True)
class State:
    """A floating-point state of a neuron.

    Attributes:
        unit: a brainunit unit.
        start: its initial value in that unit, which a user may give as a parameter; the name of a parameter has that one's
            value, entry by entry along an axis.
        relative_to: the name of a potential that the step has it relative to: `E_L`.
        axis: where there is one for each entry of the lists of an axis.
        settable: whether a user may give the initial value.
        at_least: bound of the initial value, in that unit.
    """

    unit: Any
    start: float | str = 0.0
    relative_to: str | None = None
    axis: str | None = None
    settable: bool = True
    at_least: float | None = None
    name: str = field(default="", init=False, compare=False)

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)

    def __get__(self, neurons: Any, owner: type) -> Any:
        return self if neurons is None else neurons.state(self.name)

    def __set__(self, neurons: Any, value: Any) -> None:
        neurons.set_state(self.name, value)


@final
@dataclass(frozen=True)
class Counter:
    """A whole-numbered state of a neuron, such as the steps of refractoriness that are left."""

    start: int = 0


@final
@dataclass(frozen=True)
class Receptor:
    """An input channel of spikes: the sum of the weights that arrive at the end of the step is `x.<name>`.

    Attributes:
        unit: of the weights.
        sign: +1 or -1 for a channel that takes the weights of this sign at receptor type 0 (signed); None for one that takes all.
        port: the receptor type; with `axis`, that of the first entry.
        axis: where there is one for each entry of the lists of an axis.
        at_least: the smallest weight that is allowed.
        counts: it counts the spikes and leaves their weights aside.
        weights: of one that counts along an axis of its own, a parameter along that axis: every static synapse of a neuron has an
            entry there, with the spikes and the weight of that synapse alone, and no other synapse can be made. In a Simulator
            the synapses say it, and users do not.
        released_by: a `Release` of the model, where a spike brings the part of its weight that its sender releases: of neurons
            of the same model alone, by static synapses.
        own_port: the receptor type that neurons of the same model must take instead of this one.
    """

    unit: Any
    sign: int | None = None
    port: int = 0
    axis: str | None = None
    at_least: float | None = None
    counts: bool = False
    weights: str | None = None
    released_by: Any = None
    own_port: int | None = None


@final
@dataclass(frozen=True)
class Recordable:
    """Something to record that is no state itself: `f(y, p)` in `unit`. Made by `@recordable(unit)`.

    Attributes:
        name: where it is not the function's: `I_syn`, the sum of the list of states of that name.
    """

    unit: Any
    f: Callable[[Any, Any], Any]
    name: str | None = None


def recordable(unit: Any, name: str | None = None) -> Callable[[Callable[[Any, Any], Any]], Recordable]:
    """Turns a function of a model's states y and parameters p into a recordable of its name."""
    return lambda f: Recordable(unit, f, name)
