"""What the exactly solvable neurons share: propagators with their limit cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def gain(x: np.ndarray, order: int) -> np.ndarray:
    r"""The integral of s^(order-1) exp(x s) over s from 0 to 1: exact where two time constants meet (x = 0).

    Propagators of the membrane under exponential (order 1) and alpha-shaped (order 2) currents are this function of
    x = h (1/tau_m - 1/tau_syn).
    """
    x = np.asarray(x, dtype=np.float64)
    near = np.abs(x) < 0.5
    safe = np.where(near, 1.0, x)
    far = np.expm1(safe) / safe if order == 1 else (safe * np.exp(safe) - np.expm1(safe)) / safe**2
    series, term = np.zeros_like(x), np.ones_like(x)
    for k in range(24):
        series += term / (k + order)
        term = term * x / (k + 1)
    return np.where(near, series, far)


def exponential_to_membrane(tau_syn: np.ndarray, tau_m: np.ndarray, C_m: np.ndarray, dt: float) -> np.ndarray:
    """What a current that decays with tau_syn and is 1 pA at the start of a step adds to the potential at its end, mV/pA."""
    return dt / C_m * np.exp(-dt / tau_m) * gain(dt * (1 / tau_m - 1 / tau_syn), 1)


def alpha_to_membrane(tau_syn: np.ndarray, tau_m: np.ndarray, C_m: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Likewise of an alpha-shaped current: from its derivative variable, and from itself."""
    decay, x = np.exp(-dt / tau_m) / C_m, dt * (1 / tau_m - 1 / tau_syn)
    return dt * dt * decay * gain(x, 2), dt * decay * gain(x, 1)


def constant_to_membrane(tau_m: np.ndarray, C_m: np.ndarray, dt: float) -> np.ndarray:
    """Likewise of a constant current."""
    return -tau_m / C_m * np.expm1(-dt / tau_m)


def alpha_propagators(tau_syn: Sequence[np.ndarray], tau_m: np.ndarray, C_m: np.ndarray, dt: float, name: str = "") -> dict:
    """What `alpha_step` reads of a list of receptors, by names that end with `name`."""
    to_membrane = [alpha_to_membrane(tau, tau_m, C_m, dt) for tau in tau_syn]
    return {
        f"P31{name}": [P31 for P31, _ in to_membrane],
        f"P32{name}": [P32 for _, P32 in to_membrane],
        f"P21{name}": [dt * np.exp(-dt / tau) for tau in tau_syn],
        f"P11{name}": [np.exp(-dt / tau) for tau in tau_syn],
        f"rise{name}": [np.e / tau for tau in tau_syn],
    }


def alpha_step(
    dI: Sequence[Any], current: Sequence[Any], arrived: Sequence[Any], p: Any, name: str = ""
) -> tuple[Any, list, list]:
    """One step of a list of alpha-shaped currents: what they add to the potential, their derivative variables, and they."""
    P31, P32, P21, P11, rise = (getattr(p, f"{row}{name}") for row in ("P31", "P32", "P21", "P11", "rise"))
    change: Any = 0.0
    for k in range(len(dI)):
        change = change + (P31[k] * dI[k] + P32[k] * current[k])
    new = [P21[k] * dI[k] + P11[k] * current[k] for k in range(len(dI))]
    return change, [P11[k] * dI[k] + rise[k] * arrived[k] for k in range(len(dI))], new


def exp_differences(*x: np.ndarray) -> np.ndarray:
    """The divided difference of exp at some numbers, which may be equal: exp(x) of one, (exp(x) - exp(y)) / (x - y) of two.

    A chain of k linear equations of the rates x_i / h carries exp_differences(x_1, ..., x_k) h^(k-1) from its first to its last
    within the time h. Computed as an entry of the exponential of their matrix, of terms that are all positive.

    Source: Opitz (1964), doi:10.1002/zamm.19640440112 (divided differences as functions of a matrix).
    """
    nodes = np.stack(np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in x)), axis=-1)
    largest, count = nodes.max(axis=-1, keepdims=True), nodes.shape[-1]
    span = float((largest - nodes).max(initial=0.0))
    halvings = max(0, int(np.ceil(np.log2(max(span, 1e-300)))) + 1)
    matrix = np.zeros((*nodes.shape, count))
    matrix[..., np.arange(count), np.arange(count)] = (nodes - largest) * 0.5**halvings
    matrix[..., np.arange(count - 1), np.arange(1, count)] = 0.5**halvings
    result, term = np.broadcast_to(np.eye(count), matrix.shape).copy(), np.broadcast_to(np.eye(count), matrix.shape)
    for k in range(1, 24):
        term = term @ matrix / k
        result += term
    for _ in range(halvings):
        result = result @ result
    return result[..., 0, -1] * np.exp(largest[..., 0])
