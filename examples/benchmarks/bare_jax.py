"""The programs of transforms.py in bare JAX: arrays go in and come out by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import brainunit as u
import jax
import jax.numpy as jnp


class Program(NamedTuple):
    lower: Callable[..., Any]
    run: Callable[..., Any]


def threaded(step: Callable[..., list[Any]], written: list[Any], only_read: list[Any]) -> Callable[[], Any]:
    """Calls `step` on what it gave the last time."""

    def call() -> list[Any]:
        written[:] = step(written, only_read)
        return written

    return call


def network_of_arrays() -> Callable[[], Program]:
    states = [(jnp.zeros(10) * u.mV, jnp.zeros(10) * u.mV) for _ in range(50)]
    parameters = [(jnp.full(10, 20.0) * u.ms, jnp.full(10, -65.0) * u.mV) for _ in range(50)]

    def run(states: Any, parameters: Any, xs: Any) -> Any:
        def step(states: Any, x: Any) -> Any:
            dt, stepped = 0.1 * u.ms, []
            for (V, w), (tau, E_L) in zip(states, parameters, strict=True):
                V = new_potential(V, w, tau, E_L, x, dt)
                stepped.append((V, new_adaptation(V, w, tau, E_L, dt)))
                x = 0.5 * V
            return stepped, x

        return jax.lax.scan(step, states, xs)

    def new() -> Program:
        jitted = jax.jit(lambda *inputs: run(*inputs))
        return Program(partial(jitted.lower, states, parameters), partial(jitted, states, parameters))

    return new


def new_potential(V: Any, w: Any, tau: Any, E_L: Any, x: Any, dt: Any) -> Any:
    return V + (E_L - V - w + x) / tau * dt


def new_adaptation(V: Any, w: Any, tau: Any, E_L: Any, dt: Any) -> Any:
    return w + (0.1 * (V - E_L) - w) / tau * dt


def nesting_of_arrays() -> Callable[[int], Any]:
    values = [jnp.full(10, float(n)) for n in range(5)]

    def leaf(values: Any, x: Any) -> Any:
        values = [0.5 * value + x for value in values]
        return values, values[0]

    def around(inside: Callable[..., Any]) -> Callable[..., Any]:
        compiled = jax.jit(inside)

        def step(values: Any, x: Any) -> Any:
            return jax.lax.cond(x.sum() > 0, compiled, lambda values, x: (values, values[1] * x), values, x)

        def run(values: Any, x: Any) -> Any:
            values, ys = jax.lax.scan(step, values, jnp.stack([x, -x]))
            return values, ys.sum(0)

        return run

    def new(depth: int) -> Any:
        jitted = jax.jit(repeated(around, leaf, depth))
        return lambda x: jitted.lower(values, x)

    return new


def repeated(around: Callable[[Any], Any], inside: Any, times: int) -> Any:
    for _ in range(times):
        inside = around(inside)
    return inside
