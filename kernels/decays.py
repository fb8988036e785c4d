"""Exponentials of whole numbers of steps as a product of two entries of tables: the same bits on every backend."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from dist_sim.kernels.scalar.guarded import uncontracted


@dataclass(frozen=True, kw_only=True)
class Decays:
    """exp(-k dt / tau) for whole k as a product of two entries: fine[tau, k mod 2**bits] coarse[tau, k // 2**bits].

    Computed once, on the host, in double precision: no two placements or backends call different exponentials. The last coarse
    entry is 0, where the exponential is below the smallest number. With tau = 0 all are 0. Their lengths are some of few, so that
    tables of other time constants have the same.
    """

    fine: np.ndarray
    coarse: np.ndarray
    bits: int


def decays(taus: np.ndarray, dt: float, dtype: type) -> Decays:
    """Tables for time constants `taus` (n,), in the unit of `dt`."""
    reach = int(min(np.ceil(750.0 * taus.max(initial=dt) / dt), 2**31)) + 1
    bits = (reach.bit_length() + 1) // 2
    last = (reach >> bits) + 1
    fine, coarse = np.arange(2**bits), np.arange(2 ** (reach.bit_length() - bits) + 1) * 2.0**bits
    rates = dt / np.where(taus > 0, taus, np.inf)
    tables = [np.where(taus[:, None] > 0, np.exp(-k[None] * rates[:, None]), 0.0).astype(dtype) for k in (fine, coarse)]
    tables[1][:, last:] = 0
    return Decays(fine=tables[0], coarse=tables[1], bits=bits)


def decayed(fine, coarse, bits: int, tau, k):
    """exp(-k dt / tau) from the tables; `tau` is a row."""
    return uncontracted(fine[tau, k & (2**bits - 1)] * coarse[tau, jnp.minimum(k >> bits, coarse.shape[1] - 1)])
