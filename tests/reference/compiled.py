"""How programs of tests are compiled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def hastily() -> Iterator[None]:
    """Without most of XLA's optimisations, for programs that run for a moment; tests/laws compile theirs with all of them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
