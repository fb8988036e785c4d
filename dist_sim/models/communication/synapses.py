"""The synapses of sparse connectivity, with their weights, and delays of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from dist_sim import units
from dist_sim.core import Module, ShortTermState, environ
from dist_sim.core.transform.loops import KEPT
from dist_sim.errors import ParameterError
from dist_sim.network.sparse import Sparse


@final
class OnTheWay(Module):
    """What is on its way along synapses that each have a delay: it waits at its target, in a ring with a slot per step.

    Delays are rounded to whole steps, halves up, when the States are made: a spike arrives once, and whole. One of k steps
    arrives k steps later.

    Args:
        synapses: on whose targets it waits.
        delay: [time] >= 0, (num_targets, largest in-degree), a row per target in order of its synapses; or one for all.
        where: for errors.

    States: slots (steps, num_targets) or (batch, steps, num_targets), made for the dt at hand; first, the slot that is due.
    Raises:
        ParameterError: another shape; below 0 or not finite; called at another dt than the States were made for, or before.
        UnitError: no time.
        KeyError: no dt when the States are made.
    """

    def __init__(self, synapses: Sparse, delay: Any, where: str) -> None:
        super().__init__()
        self.synapses, self._where = synapses, where
        rows = synapses.table.num_targets, synapses.width
        given = units.checked(delay, u.ms, f"{where}=...)").to_decimal(u.ms)
        if np.shape(given) not in (rows, ()):
            raise ParameterError(
                f"{where}=...): has shape {np.shape(given)}; needs one time, or {rows}: a row per target, as long as the largest "
                "in-degree."
            )
        self._delay, self._dtype = np.broadcast_to(np.asarray(given, np.float64), rows), np.asarray(given).dtype
        if not (np.isfinite(self._delay) & (self._delay >= 0)).all():
            raise ParameterError(f"{where}=...): delays must be at least 0 ms, and finite; got {self._delay.min():g} ms.")
        self._dt = 0.0

    def init_state(self, batch_size: int | None = None) -> None:
        if self._dt != _dt():
            # A whole number of steps and a half is rounded up, though dt be 0.1 in binary and the delay in float32.
            steps = self._delay / _dt()
            self.synapses.delay(np.floor(steps + 0.5 + units.rounding(steps, self._dtype)).astype(np.int64))
            self._dt = _dt()
        table = self.synapses.table
        lead, axes = ((), ()) if batch_size is None else ((batch_size,), ("batch",))
        slots = jnp.zeros((*lead, table.slots, table.num_targets), environ.dftype())
        self.slots = ShortTermState(slots, axes=(*axes, None, "neuron"))
        self.first = ShortTermState(jnp.zeros((), jnp.int32))

    def update(self, spikes: jax.Array, weights: jax.Array) -> jax.Array:
        """(..., num_targets): what arrives in this step. Arguments: see :meth:`Sparse.onto_targets`."""
        if not np.isclose(self._dt, _dt()):
            made = f"were made for dt={self._dt:g} ms; now it is {_dt():g} ms" if self._dt else "are not there yet"
            raise ParameterError(f"{self._where}=...): the slots of what is on its way {made}. Call init_all_states.")
        first, slots = self.first.value, self.slots.value
        if spikes.shape[:-1] != slots.shape[:-2]:
            raise ParameterError(
                f"{self._where}=...): spikes have the shape {spikes.shape}; what is on its way is {slots.shape}, with the steps "
                "before the last axis. Call init_all_states with the batch_size of the spikes."
            )
        slots = self.synapses.onto_slots(slots, spikes, weights, first)
        axis = slots.ndim - 2
        due = jax.lax.dynamic_index_in_dim(slots, first, axis, keepdims=False)
        self.slots.value = jax.lax.dynamic_update_index_in_dim(slots, jnp.zeros_like(due), first, axis)
        self.first.value = (first + 1) % self.synapses.table.slots
        return checkpoint_name(due, KEPT)


def adding(synapses: Sparse, on_the_way: OnTheWay | None, spikes: jax.Array, weight: Any) -> Callable[[Any], Any]:
    """What adds to a total (..., num_targets), in a unit like that of the weights, what arrives there.

    Args:
        spikes: (..., num_sources), booleans or numbers.
        weight: one for all; or (num_targets, largest in-degree).
    """

    def added(total: Any) -> Any:
        unit, bare, w = u.get_unit(total), u.get_mantissa(total), jnp.asarray(u.get_mantissa(weight))
        factor = float(u.Quantity(1.0, unit=u.get_unit(weight)).to_decimal(unit))
        if on_the_way is not None:
            return total + u.maybe_decimal(u.Quantity(on_the_way(spikes, w) * factor, unit=unit))
        # Where units differ in scale: there are fewer spikes than weights.
        sent, w = (spikes, w) if factor == 1.0 else (spikes, w * factor) if w.ndim == 0 else (spikes * factor, w)
        return u.maybe_decimal(u.Quantity(synapses.onto_targets(bare, sent, w), unit=unit))

    return added


def _dt() -> float:
    return float(environ.get_dt().to_decimal(u.ms))
