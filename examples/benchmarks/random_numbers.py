"""Random numbers in a compiled step of Modules, beside those of `jax.random`: CPU time of a draw, the least of seven.

    python examples/benchmarks/random_numbers.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr

from dist_sim.core.random import RandomState

STEPS = 50
DRAWS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "poisson, mean 1": (lambda key, x: RandomState(1).poisson(x, key=key), jr.poisson),
    "poisson, mean 8": (lambda key, x: RandomState(1).poisson(8 * x, key=key), lambda key, x: jr.poisson(key, 8 * x)),
    "uniform": (lambda key, x: RandomState(1).uniform(size=x.shape, key=key), lambda key, x: jr.uniform(key, x.shape)),
    "normal": (lambda key, x: RandomState(1).normal(size=x.shape, key=key), lambda key, x: jr.normal(key, x.shape)),
}


def microseconds(draw: Callable[[Any, Any], Any], x: jax.Array) -> float:
    """Of one draw, in a compiled loop of nothing else."""
    steps = jax.jit(lambda key, x: jax.lax.scan(lambda key, _: (jr.fold_in(key, 1), draw(key, x).sum()), key, length=STEPS))
    jax.block_until_ready(steps(jr.key(3), x))
    found = []
    for _ in range(7):
        begin = time.process_time()
        jax.block_until_ready(steps(jr.key(3), x))
        found.append(time.process_time() - begin)
    return min(found) / STEPS * 1e6


def main() -> None:
    print(f"{'us of CPU':<18}{'numbers':>9}{'dist_sim':>10}{'jax.random':>12}")
    for name, draws in DRAWS.items():
        for size in (1600, 100_000):
            ours, theirs = (microseconds(draw, jnp.ones(size)) for draw in draws)
            print(f"{name:<18}{size:>9,}{ours:>10.1f}{theirs:>12.1f}")


if __name__ == "__main__":
    main()
