"""Keyed numbers of synapses: binomial and Poisson counts, and a total split over many targets.

All by inversion from the mode outwards (Kemp 1986, doi:10.1080/03610928608829159) with IEEE arithmetic, one 53-bit uniform number
per count.
"""

from __future__ import annotations

import ctypes

import numpy as np

from dist_sim.kernels import backend as backends
from dist_sim.kernels import exact
from dist_sim.kernels.philox import philox4x32, split_key

# Draws of counts take the attempt numbers from the top, where the redraws of a synapse never come.
_COUNT, _SPLIT = 0xFFFFFFFF, 0xFFFFFFFE


def uniform53(seed: int, stream: int, ids: np.ndarray, *, purpose: int = _COUNT, slot: np.ndarray | int = 0) -> np.ndarray:
    """Uniform numbers in (0, 1), one per id."""
    w = philox4x32(*split_key(seed), ids.astype(np.uint32), np.uint32(slot), np.uint32(purpose), np.uint32(stream))
    return ((w[0] >> np.uint32(5)).astype(np.float64) * 67108864.0 + (w[1] >> np.uint32(6)) + 0.5) * 2.0**-53


def binomial(n: np.ndarray, p: float | np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Binomial counts of n trials with success probability p for uniform numbers in (0, 1); all (k,)."""
    n = np.asarray(n, dtype=np.float64)
    p = np.broadcast_to(np.asarray(p, dtype=np.float64), n.shape)
    inside = (p > 0) & (p < 1)
    q = np.where(inside, p, 0.5)
    mode = np.floor((n + 1.0) * q)
    weight = exact.exp(
        log_factorial(n) - log_factorial(mode) - log_factorial(n - mode) + mode * exact.log(q) + (n - mode) * exact.log(1.0 - q)
    )
    odds = q / (1.0 - q)
    counts = _outwards(mode, weight, uniform, lambda k: (n - k) / (k + 1.0) * odds, lambda k: k / (n - k + 1.0) / odds, n)
    return np.where(inside, counts, np.where(p >= 1, n, 0)).astype(np.int64)


def poisson_counts(mean: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Poisson counts of the given means for uniform numbers in (0, 1); both (k,)."""
    mean = np.asarray(mean, dtype=np.float64)
    positive = np.where(mean > 0, mean, 1.0)
    mode = np.floor(positive)
    weight = exact.exp(mode * exact.log(positive) - positive - log_factorial(mode))
    counts = _outwards(mode, weight, uniform, lambda k: positive / (k + 1.0), lambda k: k / positive, np.full_like(mean, np.inf))
    return np.where(mean > 0, counts, 0).astype(np.int64)


def _split_evenly(total: int, bins: int, *, seed: int, stream: int) -> np.ndarray:
    counts = np.zeros(bins, dtype=np.int64)
    if bins:
        split = backends.library()._lib.dist_sim_split_evenly
        split.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p]
        split(total, bins, seed, stream, counts.ctypes.data)
    return counts


@backends.kernel(native=_split_evenly, on_host=True)
def split_evenly(total: int, bins: int, *, seed: int, stream: int) -> np.ndarray:
    """How many of `total` balls, each thrown into a bin at random, lie in each of the bins: (bins,) int64.

    The total is halved down a binary tree whose nodes have random numbers of their own, so a device could draw its own leaves.
    """
    if bins == 0:
        return np.zeros(0, dtype=np.int64)
    first, size, count, node = (np.array([x], dtype=np.int64) for x in (0, bins, total, 1))
    result = np.zeros(bins, dtype=np.int64)
    while len(first):
        leaf = size == 1
        result[first[leaf]] = count[leaf]
        first, size, count, node = (x[~leaf] for x in (first, size, count, node))
        half = size // 2
        u = uniform53(seed, stream, node & 0xFFFFFFFF, purpose=_SPLIT, slot=(node >> 32).astype(np.uint32))
        left = binomial(count, half / np.maximum(size, 1), u)
        first, size = np.concatenate([first, first + half]), np.concatenate([half, size - half])
        count, node = np.concatenate([left, count - left]), np.concatenate([2 * node, 2 * node + 1])
    return result


def log_factorial(n: np.ndarray) -> np.ndarray:
    """log(n!) to about 1e-14 relative: Stirling's series, shifted up by 16."""
    x = np.asarray(n, dtype=np.float64) + 17.0
    z = 1.0 / (x * x)
    series = ((((1.0 / 1188 * z - 1.0 / 1680) * z + 1.0 / 1260) * z - 1.0 / 360) * z + 1.0 / 12) / x
    log_gamma = (x - 0.5) * exact.log(x) - x + 0.9189385332046727 + series
    product = np.ones_like(x)
    for k in range(1, 17):
        product = product * (x - k)
    return log_gamma - exact.log(product)


def _outwards(mode, weight, uniform, up, down, largest):
    """Subtracts the probabilities of mode, mode + 1, mode - 1, mode + 2, ... from the uniform number until it is negative."""
    left = uniform - weight
    result = np.where(left < 0, mode, -1.0)
    high, low, high_weight, low_weight = mode.copy(), mode.copy(), weight.copy(), weight.copy()
    running = left >= 0
    while running.any():
        can_rise, can_fall = running & (high < largest), running & (low > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            high_weight = np.where(can_rise, high_weight * up(high), high_weight)
            high = np.where(can_rise, high + 1.0, high)
            left = np.where(can_rise, left - high_weight, left)
            done = can_rise & (left < 0)
            result, running, can_fall = np.where(done, high, result), running & ~done, can_fall & ~done
            low_weight = np.where(can_fall, low_weight * down(low), low_weight)
            low = np.where(can_fall, low - 1.0, low)
            left = np.where(can_fall, left - low_weight, left)
            done = can_fall & (left < 0)
            result, running = np.where(done, low, result), running & ~done
        # What rounding leaves of the uniform number belongs to the mode.
        spent = running & (~can_rise | (high_weight < 1e-20)) & (~can_fall | (low_weight < 1e-20))
        result, running = np.where(spent, mode, result), running & ~spent
    return result
