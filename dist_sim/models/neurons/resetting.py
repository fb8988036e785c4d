"""Neurons that a spike resets."""

from __future__ import annotations

import inspect
import warnings
from abc import abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import brainunit as u
import jax
import numpy as np

from dist_sim.core import HiddenState
from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError
from dist_sim.models.neurons.neuron import Neuron


class ResettingNeuron(Neuron):
    """A neuron whose potential V a spike resets.

    A step first resets what the step before left at or above V_th, then integrates, then reports spikes: V as recorded is what
    spiked, before its reset. A model writes `step` and `get_spike`.

    Every model takes one more argument, by its name:
        detach_reset: gradients do not pass through the spike that resets V, as snnTorch and SpikingJelly have it. After the soft
            reset the derivative of V by V before it is 1 then, after the hard one 1 - spike. What a spike adds to other States,
            such as an adaptation, keeps its gradient. Spikes are the same either way.

    Attributes:
        upstroke: above V_th the equation of the model runs away, within less than a step: how high V gets says nothing. Then V
            is cut off one height V_th - V_reset above V_th, and a spike leaves it at V_reset, also by the soft reset.
    """

    delta_unit: ClassVar[Any] = u.mV
    upstroke: ClassVar[bool] = False
    detach_reset: bool = False
    V: HiddenState

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _with_detach_reset(vars(cls)["__init__"])

    def update(self, x: Any = None) -> jax.Array:
        """One step under x, in `input_unit`, a scalar or of the shape of V. Returns spikes 0. or 1. of the shape of V."""
        self.step(self.checked_input(x))
        spikes = self.get_spike()
        self.note(spikes)
        return spikes

    @abstractmethod
    def step(self, x: Any) -> None:
        """Moves every State by one step: what spiked is reset, what does not move while refractory goes through `held`."""

    # ---- what refractory forms add to ----

    def held(self, before: Any, after: Any) -> Any:
        """What a State is after a step, which by itself leads from `before` to `after`."""
        return after

    def note(self, spikes: jax.Array) -> None:
        """The spikes of a step, at its end."""

    # ---- shared ----

    def after_spike(self, V: u.Quantity, spike: jax.Array, V_th: u.Quantity, V_reset: u.Quantity) -> u.Quantity:
        """V after its spikes have been taken off, the soft or the hard way."""
        V = u.math.minimum(V, V_th) if self.upstroke else V
        if self.detach_reset:
            return V - ((V_th if self.spk_reset == "soft" else V) - V_reset) * jax.lax.stop_gradient(spike)
        # Hard: V - (V - V_reset). Gradients pass through the first V and the spike only, as in brainpy.state.
        top = V_th if self.spk_reset == "soft" else jax.lax.stop_gradient(V)
        return V - (top - V_reset) * spike

    def bounded(self, V: u.Quantity, V_th: u.Quantity, V_reset: u.Quantity) -> u.Quantity:
        """V after a step, cut off where it runs away."""
        return u.math.minimum(V, V_th + (V_th - V_reset)) if self.upstroke else V

    def check_reset(self, V_th: u.Quantity, V_reset: u.Quantity, names: tuple[str, str] = ("V_th", "V_reset")) -> None:
        """To be called by models, with their thresholds and where a spike leaves V.

        Raises:
            ParameterError: V_reset equals V_th, or is above it where the equation runs away.
        Warns:
            UserWarning: V_reset above V_th, which turns the threshold around (brainpy.state accepts it, and V_reset = 0 mV is
                its default).
        """
        if has_tracer((V_th, V_reset)):
            return
        threshold, reset = names
        where = f"{type(self).__name__}({reset}=...): {reset}"
        height = np.asarray((V_th - V_reset).to_decimal(u.mV))
        if (height == 0).any():
            raise ParameterError(f"{where} must be below {threshold}; they are equal, so that a spike changes nothing.")
        if (height < 0).any() and self.upstroke:
            raise ParameterError(f"{where} must be below {threshold}; got one above. The neuron would spike at every step.")
        if (height < 0).any():
            warnings.warn(
                f"{where} is above {threshold}: the neuron spikes at or below {threshold}, not above, and a spike raises "
                f"V. Set {reset} (0 mV by default) below {threshold}.",
                stacklevel=4,
            )


def _with_detach_reset(init: Callable[..., None]) -> Callable[..., None]:
    """An `__init__` with `detach_reset` besides its own arguments: declared here, and not in every model."""
    own = inspect.signature(init)
    if "detach_reset" in own.parameters:
        return init

    @wraps(init)
    def made(self: ResettingNeuron, *args: Any, **kwargs: Any) -> None:
        # The models that this one is made of are given none.
        given = {"detach_reset": kwargs.pop("detach_reset")} if "detach_reset" in kwargs else {}
        init(self, *args, **kwargs)
        for name, value in given.items():
            if not isinstance(value, bool):
                raise ParameterError(f"{type(self).__name__}({name}={value!r:.60}): allowed are True and False.")
            self.detach_reset = value

    last = inspect.Parameter("detach_reset", inspect.Parameter.KEYWORD_ONLY, default=False, annotation="bool")
    parameters = sorted([*own.parameters.values(), last], key=lambda parameter: parameter.kind)
    vars(made)["__signature__"] = own.replace(parameters=parameters)
    return made
