"""Poisson spike trains, and what many of them add to a State."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import Module, State, environ, random
from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.inputs.noise import Noise
from dist_sim.models.parameter import Parameter


@final
class PoissonEncoder(Dynamics):
    r"""Spikes at rates that are given step by step: each with probability :math:`1 - e^{-f \Delta t}`.

    Args:
        in_size: the shape of the population.
        spk_type: dtype of the spikes.
        name: of the Module.
    States: those of the random numbers.
    Source: names and defaults are those of brainpy.state 0.1.
    """

    def __init__(self, in_size: int | tuple[int, ...], spk_type: Any = bool, name: str | None = None) -> None:
        super().__init__(in_size, name)
        self.spk_type = spk_type
        self.noise = Noise(self.in_size)

    def update(self, freqs: Any) -> jax.Array:
        """Spikes of this step, of the shape (*in_size) or (batch, *in_size), to which `freqs` [rate] broadcasts."""
        units.checked(freqs, u.Hz, "PoissonEncoder.update(freqs=...)")
        return self.noise.happens(-jnp.expm1(-_expected(freqs))).astype(self.spk_type)


@final
class PoissonSpike(Dynamics):
    r"""Spikes at constant rates: in each step with probability :math:`1 - e^{-f \Delta t}`.

    Args:
        in_size: the shape of the population.
        freqs: [rate] >= 0, one value or one per neuron; an initialiser; a State to change it later.
        spk_type: dtype of the spikes.
        name: of the Module.
    States: those of the random numbers.
    Raises: UnitError, ParameterError: a wrong unit, shape or bound.
    Source: names and defaults are those of brainpy.state 0.1.
    """

    freqs = Parameter(u.Hz, at_least=0.0)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        freqs: Any | Callable[[tuple[int, ...]], Any],
        spk_type: Any = bool,
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, name)
        self.freqs = freqs(self.in_size) if callable(freqs) else freqs
        self.encoder = PoissonEncoder(self.in_size, spk_type)

    def update(self) -> jax.Array:
        """Spikes of this step, of the shape (*in_size) or (batch, *in_size)."""
        return self.encoder(self.freqs)


@final
class PoissonInput(Module):
    """Adds to a State, at each step, what many independent Poisson trains of one rate and weight send to each of its elements.

    Args:
        target: the State, or what names it before it is allocated: a pair of a Module and the name of its attribute, or an
            object with both (`module` and `item`).
        indices: those along its last axes that receive; None for all.
        num_input: trains per element.
        freq: of each [rate].
        weight: what a spike adds [that of the target].
        name: of the Module.
    Raises: UnitError, ParameterError: a wrong unit, or a number below 0.
    Source: names and defaults are those of brainpy.state 0.1; see :func:`poisson_input`.
    """

    def __init__(self, target: Any, indices: Any, num_input: int, freq: Any, weight: Any, name: str | None = None) -> None:
        super().__init__(name)
        self.target, self.indices, self.num_input, self.freq, self.weight = target, indices, num_input, freq, weight
        _check_drive("PoissonInput", num_input, freq)

    def update(self) -> None:
        """Adds the input of this step."""
        target = self.target
        if not isinstance(target, State):
            module, item = target if isinstance(target, tuple) else (target.module, target.item)
            target = getattr(module, item)
        poisson_input(self.freq, self.num_input, self.weight, target, self.indices)


def poisson_input(freq: Any, num_input: int, weight: Any, target: State, indices: Any = None, refractory: Any = None) -> None:
    r"""Adds to a State what independent Poisson trains send to each of its elements in this step.

    The trains of an element are together one of the rate num_input * freq: its count is drawn by `ds.random.poisson`.

    Args:
        freq: of each train [rate], one value or one per element that receives; also as a State.
        num_input: trains per element.
        weight: what a spike adds [that of the target]; likewise.
        target: a State with one value, an array or a quantity.
        indices: those along its last axis that receive; None for all.
        refractory: where True, nothing is added; broadcasts to the target.

    Raises:
        UnitError, ParameterError: a wrong unit, a number below 0, no State.
    Source: names and defaults are those of brainpy.state 0.1, where a train has at most one spike per step.
    """
    _check_drive("poisson_input", num_input, freq)
    if not isinstance(target, State):
        raise ParameterError(f"poisson_input(target={target!r:.60}): needs a State.")
    weight = weight.value if isinstance(weight, State) else weight
    value = target.value
    if not u.have_same_dim(weight, value):
        raise UnitError(f"poisson_input(weight={weight}): the target is in {u.get_unit(value)}. Give the weight in that unit.")
    shape = value.shape if indices is None else value[..., indices].shape
    counts = random.poisson(num_input * _expected(freq.value if isinstance(freq, State) else freq), shape).astype(float)
    if indices is None:
        after = value + counts * weight
    else:
        # Of quantities too: bare numbers in the unit of the target.
        added = u.maybe_decimal(u.Quantity(counts * weight) / u.Quantity(1.0, unit=u.get_unit(value)))
        bare = u.get_mantissa(value).at[..., indices].add(added)
        after = u.maybe_decimal(u.Quantity(bare, unit=u.get_unit(value)))
    target.value = after if refractory is None else u.math.where(refractory, value, after)


def _expected(freq: Any) -> Any:
    """Spikes per step."""
    return u.maybe_decimal(freq * environ.get_dt())


def _check_drive(where: str, num_input: Any, freq: Any) -> None:
    freq = units.checked(freq.value if isinstance(freq, State) else freq, u.Hz, f"{where}(freq=...)")
    if not has_tracer(freq) and not (np.asarray(freq.mantissa) >= 0).all():
        raise ParameterError(f"{where}(freq={freq}): must be at least 0 Hz.")
    if isinstance(num_input, bool) or not isinstance(num_input, int | np.integer) or num_input < 0:
        raise ParameterError(f"{where}(num_input={num_input!r}): needs a whole number of trains, at least 0.")
