"""One step of the neurons whose subthreshold dynamics are linear, solved exactly on the grid (Rotter & Diesmann 1999).

The reference is plain JAX; the compiled backend does the same in place, in one pass over the states. Potentials are relative to
E_L. A parameter is (1,) where it is the same for all neurons, else (n,); channels are rows of `I` and `dI`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels.backend import call

BLOCK = 128  # neurons of a device are padded to a multiple of this, so that vector loops have no remainder


def iaf_psc_exp(arriving, p, V, I, refractory, *, offset: int, quantum: float, backend: str):
    """Exponential postsynaptic currents.

    Args:
        arriving: (threads, size) integers, the input vector of the device; this model's part begins at `offset`.
        p: parameters by name: V_th, V_reset, I_e, current, refractory_steps, P22, P20, P21 and P11 (one array per channel).
        V: (n,), I: (channels, n), refractory: (n,) int32.
        quantum: what one unit of the input stands for (pA).

    Returns:
        V, I, refractory and the spikes as bits, (n / 32,) uint32.
    """
    if backend == "cpp":
        pairs = [a for k in range(2) for a in (p["P21"][min(k, len(p["P21"]) - 1)], p["P11"][min(k, len(p["P11"]) - 1)])]
        return _compiled(
            "iaf_psc_exp", arriving, p, [p["P22"], p["P20"], *pairs], [V, I, refractory], offset, len(p["P21"]), quantum
        )
    new = _input(arriving, I.shape, offset, quantum, V.dtype)
    moved = V * p["P22"] + (p["I_e"] + p["current"]) * p["P20"]
    for g, p21 in zip(I, p["P21"], strict=True):
        moved = moved + g * p21
    I = jnp.stack([g * p11 + n for g, p11, n in zip(I, p["P11"], new, strict=True)])
    V, refractory, bits = _fire(jnp.where(refractory == 0, moved, V), refractory, p)
    return V, I, refractory, bits


def iaf_psc_alpha(arriving, p, V, I, dI, refractory, *, offset: int, quantum: float, backend: str):
    """Alpha-shaped postsynaptic currents; p: V_th, V_reset, V_min, I_e, current, refractory_steps, P33, P30 and, per channel,
    P31, P32, P21, P11, rise. The rest as `iaf_psc_exp`, with dI (channels, n) beside I."""
    per_channel = ("P31", "P32", "P21", "P11", "rise")
    if backend == "cpp":
        last = len(p["P31"]) - 1
        arrays = [p["P33"], p["P30"], *(p[name][min(k, last)] for k in range(2) for name in per_channel)]
        return _compiled("iaf_psc_alpha", arriving, p, arrays, [V, I, dI, refractory], offset, last + 1, quantum)
    new = _input(arriving, I.shape, offset, quantum, V.dtype)
    moved = V * p["P33"] + (p["I_e"] + p["current"]) * p["P30"]
    I_next, dI_next = [], []
    for c, (g, dg, n) in enumerate(zip(I, dI, new, strict=True)):
        p31, p32, p21, p11, rise = (p[name][c] for name in per_channel)
        moved = moved + (dg * p31 + g * p32)
        I_next.append(dg * p21 + g * p11)
        dI_next.append(dg * p11 + rise * n)
    V = jnp.where(refractory == 0, jnp.maximum(moved, p["V_min"]), V)
    V, refractory, bits = _fire(V, refractory, p)
    return V, jnp.stack(I_next), jnp.stack(dI_next), refractory, bits


def iaf_psc_delta(arriving, p, V, refractory, *, offset: int, quantum: float, backend: str):
    """Potential jumps (quantum in mV); input that arrives in the refractory period is lost. p: V_th, V_reset, V_min, I_e,
    current, refractory_steps, P33, P30."""
    if backend == "cpp":
        return _compiled("iaf_psc_delta", arriving, p, [p["P33"], p["P30"]], [V, refractory], offset, 1, quantum)
    new = _input(arriving, (1, *V.shape), offset, quantum, V.dtype)[0]
    moved = V * p["P33"] + (p["I_e"] + p["current"]) * p["P30"] + new
    V = jnp.where(refractory == 0, jnp.maximum(moved, p["V_min"]), V)
    return _fire(V, refractory, p)


def pack(spiking: jax.Array) -> jax.Array:
    """Booleans (..., n) as bits (..., n / 32) uint32, lowest bit first."""
    words = spiking.reshape(*spiking.shape[:-1], -1, 32).astype(jnp.uint32)
    return (words << jnp.arange(32, dtype=jnp.uint32)).sum(axis=-1, dtype=jnp.uint32)


def _input(arriving, shape, offset, quantum, dtype):
    size = int(np.prod(shape))
    total = arriving[:, offset : offset + size].sum(axis=0, dtype=arriving.dtype)
    return total.reshape(shape).astype(dtype) * dtype.type(quantum)


def _fire(V, refractory, p):
    # An infinite V is no spike: it must not vanish in a reset, but be found after the chunk.
    spiking = (V >= p["V_th"]) & (V < jnp.inf)
    rest = jnp.where(refractory == 0, 0, refractory - 1)
    return jnp.where(spiking, p["V_reset"], V), jnp.where(spiking, p["refractory_steps"], rest), pack(spiking)


def _compiled(kernel: str, arriving, p: dict[str, Any], arrays: list, states: list, offset: int, channels: int, quantum: float):
    common = [p[name] for name in ("V_th", "V_reset", "V_min", "I_e", "current", "refractory_steps")]
    operands = [arriving, *common, *arrays, *states]
    results = [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in states]
    results.append(jax.ShapeDtypeStruct((states[0].shape[0] // 32,), jnp.uint32))
    first = len(operands) - len(states)
    return call(kernel, results, *operands, in_place={first + k: k for k in range(len(states))}, offset=np.int64(offset),
                channels=np.int64(channels), threads=np.int64(arriving.shape[0]), quantum=np.float64(quantum))  # fmt: skip
