"""What the exactly solvable neurons share: propagators with their limit cases."""

from __future__ import annotations

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
