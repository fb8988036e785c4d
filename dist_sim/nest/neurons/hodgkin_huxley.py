"""Rates of the gates n, m and h, which the models of Hodgkin-Huxley type share, per ms.

Exponentials whose arguments differ by a factor are powers of one: two are computed instead of six. Rates of the form
x / (1 - exp(-x)) are their limit where x is near 0.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

# Below these potentials gates are as there: further down the products of exponentials would be infinite, and their quotients no
# numbers. In float64 that is beyond anything that a membrane comes to.
_LOWEST_SQUID = {"float32": -300.0, "float64": -2000.0}
_LOWEST_HIPPOCAMPAL = {"float32": -150.0, "float64": -1200.0}
_NEAR = 0.01  # there the series is exact to 1e-11 and a difference from 1 has lost at most two digits


def squid(V: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    """alpha_n, beta_n, alpha_m, beta_m, alpha_h, beta_h of the squid's giant axon at V [mV], which rests near -65 mV.

    Source: Hodgkin & Huxley (1952), doi:10.1113/jphysiol.1952.sp004764.
    """
    V = jnp.maximum(V, _LOWEST_SQUID[str(jnp.result_type(V))])
    w = jnp.exp((V + 65.0) * (-1 / 80))
    w2 = w * w
    w4 = w2 * w2
    w8 = w4 * w4
    x_n, x_m = (V + 55.0) * 0.1, (V + 40.0) * 0.1
    near_n, near_m = abs(x_n) < _NEAR, abs(x_m) < _NEAR
    d_n = jnp.where(near_n, 1.0, 1.0 - math.exp(1.0) * w8)
    d_m = jnp.where(near_m, 1.0, 1.0 - math.exp(2.5) * w8)
    d_h = 1.0 + math.exp(3.0) * w8
    d_nm = d_n * d_m
    inverse = 1.0 / (d_nm * d_h)  # of all three at once: a division takes as long as twenty products
    alpha_n = 0.1 * jnp.where(near_n, 1.0 + x_n * (0.5 + x_n * (1 / 12)), x_n * ((d_m * d_h) * inverse))
    alpha_m = jnp.where(near_m, 1.0 + x_m * (0.5 + x_m * (1 / 12)), x_m * ((d_n * d_h) * inverse))
    return alpha_n, 0.125 * w, alpha_m, 4.0 * jnp.exp((V + 65.0) * (-1 / 18)), 0.07 * w4, d_nm * inverse


def hippocampal(V: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Likewise of pyramidal cells of CA3, at a potential V [mV] relative to V_T.

    Source: Traub & Miles (1991), Neuronal Networks of the Hippocampus, doi:10.1017/CBO9780511895401.
    """
    V = jnp.maximum(V, _LOWEST_HIPPOCAMPAL[str(jnp.result_type(V))])
    w = jnp.exp(V * (-1 / 40))
    w2 = w * w
    w8 = (w2 * w2) * (w2 * w2)
    x_n, x_m, x = (15.0 - V) * 0.2, (13.0 - V) * 0.25, (40.0 - V) * 0.2
    near_n, near_m, near = abs(x_n) < _NEAR, abs(x_m) < _NEAR, abs(x) < _NEAR
    d_n = jnp.where(near_n, 1.0, math.exp(3.0) * w8 - 1.0)
    d_m = jnp.where(near_m, 1.0, math.exp(3.25) * (w8 * w2) - 1.0)
    e = math.exp(8.0) * w8
    d, d_h = jnp.where(near, 1.0, e - 1.0), e + 1.0
    # Two at once: a division takes as long as twenty products. More would overflow in float32.
    inverse_nm, inverse = 1.0 / (d_n * d_m), 1.0 / (d * d_h)
    alpha_n = 0.16 * jnp.where(near_n, 1.0 - x_n * (0.5 - x_n * (1 / 12)), x_n * (d_m * inverse_nm))
    alpha_m = 1.28 * jnp.where(near_m, 1.0 - x_m * (0.5 - x_m * (1 / 12)), x_m * (d_n * inverse_nm))
    beta_m = 1.4 * jnp.where(near, 1.0 + x * (0.5 + x * (1 / 12)), x + x * (d_h * inverse))
    alpha_h = 0.128 * jnp.exp((17.0 - V) * (1 / 18))
    return alpha_n, (0.5 * math.exp(0.25)) * w, alpha_m, beta_m, alpha_h, 4.0 * (d * inverse)
