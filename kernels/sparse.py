"""Sums over the synapses of a table, in floating point, for models that are differentiated.

The three sums are the derivatives of one trilinear form, by what each of them leaves out:

    sum over synapses of  spikes[source] * weight[synapse] * gradient[target]

A table is `pointers` (num_sources + 1,) uint32, where the synapses of each source begin, and `synapses` (n, 2) uint32, for each
the target and the place of its weight. Weights of shape (0,) stand for ones. The compiled backend takes sums in the order of the
table, so that they do not depend on how the targets are shared out.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dist_sim.kernels.backend import call


def to_targets(
    spikes: jax.Array, weights: jax.Array, pointers: jax.Array, synapses: jax.Array, *, num_targets: int, backend: str
) -> jax.Array:
    """(batch, num_targets): what arrives where. `spikes` (batch, num_sources); work follows those that are not 0."""
    if backend == "cpp":
        return _called("to_targets", spikes, weights, pointers, synapses, num_targets)
    sources = _sources(pointers, synapses)
    sent = spikes[:, sources] * _of_synapses(weights, synapses, spikes.dtype)
    return jnp.zeros((spikes.shape[0], num_targets), spikes.dtype).at[:, synapses[:, 0]].add(_real(sent, pointers))


def to_sources(
    gradient: jax.Array, weights: jax.Array, pointers: jax.Array, synapses: jax.Array, *, num_sources: int, backend: str
) -> jax.Array:
    """(batch, num_sources): the same the other way. `gradient` (batch, num_targets)."""
    if backend == "cpp":
        return _called("to_sources", gradient, weights, pointers, synapses, num_sources)
    sources = _sources(pointers, synapses)
    back = gradient[:, synapses[:, 0]] * _of_synapses(weights, synapses, gradient.dtype)
    return jnp.zeros((gradient.shape[0], num_sources), gradient.dtype).at[:, sources].add(_real(back, pointers))


def to_weights(
    spikes: jax.Array, gradient: jax.Array, pointers: jax.Array, synapses: jax.Array, *, num_weights: int, backend: str
) -> jax.Array:
    """(num_weights,): the derivative by the weights, summed over the batch."""
    if backend == "cpp":
        shape = jax.ShapeDtypeStruct((num_weights,), spikes.dtype)
        return call("to_weights", [shape], spikes, gradient, pointers, synapses, source="sparse")[0]
    products = (spikes[:, _sources(pointers, synapses)] * gradient[:, synapses[:, 0]]).sum(0)
    return jnp.zeros(num_weights, spikes.dtype).at[synapses[:, 1]].add(_real(products, pointers))


def _called(kernel: str, one: jax.Array, weights: jax.Array, pointers: jax.Array, synapses: jax.Array, size: int) -> jax.Array:
    """(batch, size). A single trial goes in and out without its axis: the compiler does not vectorise what makes or takes it."""
    batch, n = one.shape
    lead = () if batch == 1 else (batch,)
    shape = jax.ShapeDtypeStruct((*lead, size), one.dtype)
    (out,) = call(kernel, [shape], one.reshape(*lead, n), weights, pointers, synapses, source="sparse")
    return out.reshape(batch, size)


def _sources(pointers: jax.Array, synapses: jax.Array) -> jax.Array:
    """The source of each synapse."""
    return jnp.searchsorted(pointers[1:], jnp.arange(synapses.shape[0], dtype=pointers.dtype), side="right")


def _of_synapses(weights: jax.Array, synapses: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    return weights.reshape(-1)[synapses[:, 1]] if weights.size else jnp.ones((), dtype)


def _real(values: jax.Array, pointers: jax.Array) -> jax.Array:
    """What the padding behind the last synapse would add is 0."""
    return jnp.where(jnp.arange(values.shape[-1], dtype=pointers.dtype) < pointers[-1], values, 0)
