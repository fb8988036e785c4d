"""Running sums and searches in plain JAX, in few operations that depend on each other: a GPU launches each on its own."""

from __future__ import annotations

import jax.numpy as jnp

_AT_ONCE = 128


def prefix_sum(x):
    """(n,) integers -> (n,), each the sum of those up to and with it.

    A block of 128 is added up for each of its places apart, which is one operation on many lanes; then likewise the sums of
    the blocks.
    """
    n = x.shape[0]
    place = jnp.arange(min(n, _AT_ONCE))
    if n > _AT_ONCE:
        x = jnp.pad(x, (0, -n % _AT_ONCE))
    blocks = x.reshape(-1, len(place))
    within = jnp.where(place[:, None] >= place, blocks[:, None, :], 0).sum(axis=2, dtype=x.dtype)
    if n <= _AT_ONCE:
        return within[0]
    totals = within[:, -1]
    return (within + (prefix_sum(totals) - totals)[:, None]).reshape(-1)[:n]


def owner(ends, places):
    """Of each place, the number of the part that it lies in; `ends` (parts,) are the running sums of their lengths. A place
    beyond the last part is counted to that."""
    return jnp.minimum(jnp.searchsorted(ends, places, side="right", method="scan_unrolled"), ends.shape[0] - 1)
