"""Sums over the synapses of a table, in floating point, for models that are differentiated.

The three sums are the derivatives of one trilinear form, by what each of them leaves out:

    sum over synapses of  spikes[source] * weight[synapse] * gradient[slot, target]

A table is `pointers` (num_sources + 1,) uint32, where the synapses of each source begin, and `synapses` (n, 2) uint32, for each
its place among slots and targets, and that of its weight; or (n,) uint32 or uint16, places alone, where weights (1,) are one for
all. Slots are a ring: `first` int32 says where in it slot 0 of the table lies now. The compiled backend takes sums in the order
of the table, so that they do not depend on how the targets are shared out.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dist_sim.kernels.backend import call, kernel


def _to_targets(onto, spikes, weights, pointers, synapses, first):
    inner = _without_trial(onto)
    shape = jax.ShapeDtypeStruct((*inner, onto.shape[1] * onto.shape[2]), onto.dtype)
    operands = onto.reshape(shape.shape), spikes.reshape(*inner, -1), weights, pointers, synapses, _shift(onto, first)
    (out,) = call("to_targets", [shape], *operands, in_place={0: 0}, source="sparse")
    return out.reshape(onto.shape)


@kernel(native=_to_targets)
def to_targets(
    onto: jax.Array, spikes: jax.Array, weights: jax.Array, pointers: jax.Array, synapses: jax.Array, first: jax.Array
) -> jax.Array:
    """`onto` (batch, slots, num_targets) and what arrives there, in its place where nothing else needs it.

    Args:
        spikes: (batch, num_sources), booleans or of the dtype of `onto`; work follows those that are not 0.
    """
    sent = spikes[:, _sources(pointers, synapses)] * _of_synapses(weights, synapses)
    flat = onto.reshape(len(onto), -1)
    return flat.at[:, _places(synapses, onto, first)].add(_real(sent, pointers)).reshape(onto.shape)


def _to_sources(gradient, weights, pointers, synapses, first, *, num_sources: int):
    inner = _without_trial(gradient)
    shape = jax.ShapeDtypeStruct((*inner, num_sources), gradient.dtype)
    operands = gradient.reshape(*inner, -1), weights, pointers, synapses, _shift(gradient, first)
    (out,) = call("to_sources", [shape], *operands, source="sparse")
    return out.reshape(-1, num_sources)


@kernel(native=_to_sources)
def to_sources(
    gradient: jax.Array, weights: jax.Array, pointers: jax.Array, synapses: jax.Array, first: jax.Array, *, num_sources: int
) -> jax.Array:
    """(batch, num_sources): the same the other way. `gradient` (batch, slots, num_targets)."""
    flat = gradient.reshape(len(gradient), -1)
    back = flat[:, _places(synapses, gradient, first)] * _of_synapses(weights, synapses)
    return jnp.zeros((len(flat), num_sources), flat.dtype).at[:, _sources(pointers, synapses)].add(_real(back, pointers))


def _to_weights(spikes, gradient, pointers, synapses, first, *, num_weights: int):
    shape, flat = jax.ShapeDtypeStruct((num_weights,), gradient.dtype), gradient.reshape(len(gradient), -1)
    return call("to_weights", [shape], spikes, flat, pointers, synapses, _shift(gradient, first), source="sparse")[0]


@kernel(native=_to_weights)
def to_weights(
    spikes: jax.Array, gradient: jax.Array, pointers: jax.Array, synapses: jax.Array, first: jax.Array, *, num_weights: int
) -> jax.Array:
    """(num_weights,): the derivative by the weights, summed over the batch."""
    flat = gradient.reshape(len(gradient), -1)
    products = (spikes[:, _sources(pointers, synapses)] * flat[:, _places(synapses, gradient, first)]).sum(0)
    return jnp.zeros(num_weights, gradient.dtype).at[synapses[:, 1]].add(_real(products, pointers))


def _without_trial(x: jax.Array) -> tuple[int, ...]:
    """A single trial goes in and out without its axis: the compiler does not vectorise what makes or takes it."""
    return () if x.shape[0] == 1 else x.shape[:1]


def _shift(x: jax.Array, first: jax.Array) -> jax.Array:
    """How far the places of the table are along those of `x`."""
    return jnp.asarray(first, jnp.int32).reshape(1) * x.shape[2]


def _places(synapses: jax.Array, x: jax.Array, first: jax.Array) -> jax.Array:
    """Of the targets among the flat slots of `x`."""
    places = synapses[:, 0] if synapses.ndim == 2 else synapses
    return (places.astype(jnp.int32) + _shift(x, first)) % (x.shape[1] * x.shape[2])


def _sources(pointers: jax.Array, synapses: jax.Array) -> jax.Array:
    """The source of each synapse."""
    return jnp.searchsorted(pointers[1:], jnp.arange(synapses.shape[0], dtype=pointers.dtype), side="right")


def _of_synapses(weights: jax.Array, synapses: jax.Array) -> jax.Array:
    return weights if synapses.ndim == 1 else weights.reshape(-1)[synapses[:, 1]]


def _real(values: jax.Array, pointers: jax.Array) -> jax.Array:
    """What the padding behind the last synapse would add is 0."""
    return jnp.where(jnp.arange(values.shape[-1], dtype=pointers.dtype) < pointers[-1], values, 0)
