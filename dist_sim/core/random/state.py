"""RandomState: a key that changes with every draw, kept in a State; and the one that everybody shares."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from dist_sim.core.random.bits import drawing
from dist_sim.core.random.distributions import Distributions
from dist_sim.core.state import State
from dist_sim.errors import ParameterError

SeedOrKey = Any
"""An integer from 0 to 2**64 - 1, a key of `jax.random.key`, or the two uint32 words of one."""

# Not left to JAX's configuration: the other generators give other numbers on other numbers of devices.
GENERATOR = "threefry2x32"

# A key must not be split twice, as two threads that draw at the same time would.
_LOCK = threading.RLock()


@final
class RandomState(Distributions, State):
    """A source of random numbers whose state is a key: one seed, the same numbers in the same order.

    Every draw splits the key, keeps one half and spends the other. The key is a State like any other: compiled functions,
    loops and branches carry it, so a loop of n draws gives the numbers of n draws outside of it. In `transform.vmap` each lane
    draws its own numbers, and the key moves on once. The numbers do not depend on devices or on how the result is split. Programs
    that run in several threads at once need a RandomState each.

    Args:
        seed_or_key: see :data:`SeedOrKey`. Without it, a seed that nobody knows.
        options: `name` and the other labels of a State.

    Raises:
        ParameterError: a seed or key that is none of these; no seed where several processes must agree on one.
    """

    roams = True

    def __init__(self, seed_or_key: SeedOrKey = None, name: str | None = None, **options: Any) -> None:
        super().__init__(_seeded(seed_or_key), name, **options)

    def seed(self, seed_or_key: SeedOrKey = None) -> None:
        """Starts anew from a seed or key. Arguments and errors: see the class."""
        self.value = _seeded(seed_or_key)

    def set_key(self, key: SeedOrKey) -> None:
        """Goes on from a key, such as one that was read from `value` before."""
        self.value = as_key(key)

    def split_key(self, n: int | None = None) -> jax.Array:
        """One new key; or an array of `n`. This one moves on.

        Raises:
            ParameterError: n below 1.
        """
        if n is not None and n < 1:
            raise ParameterError(f"split_key({n}): needs a positive number of keys.")
        with _LOCK:
            keys = jr.wrap_key_data(jr.key_data(jr.split(drawing(self.value), 2 if n is None else n + 1)), impl=GENERATOR)
            self.value = keys[0]
        return keys[1] if n is None else keys[1:]

    def clone(self) -> RandomState:
        """Another source, independent of this one; this one moves on."""
        return RandomState(self.split_key())

    @staticmethod
    def lane_key(value: jax.Array, lane_index: Any) -> jax.Array:
        """The key with which one lane of a vmap starts, where `value` is the key outside. A pure function."""
        # Not folded into `value` itself: lane 0 would get split(value)[0], with which the outside goes on.
        return jr.fold_in(jr.split(value)[1], lane_index)

    @staticmethod
    def after_lanes(value: jax.Array) -> jax.Array:
        """The key with which the outside goes on after a vmap, whatever the lanes drew. A pure function."""
        return jr.split(value)[0]

    def _take(self, key: SeedOrKey) -> jax.Array:
        return drawing(self.split_key() if key is None else as_key(key))


def as_key(seed_or_key: SeedOrKey) -> jax.Array:
    """A key, from whatever stands for one.

    Raises:
        ParameterError: something else.
    """
    if isinstance(seed_or_key, (int, np.integer)) and not isinstance(seed_or_key, bool) and 0 <= seed_or_key < 2**64:
        # As words, where jax.random.key would lose the upper 32 bits in 32-bit mode.
        seed_or_key = np.array([int(seed_or_key) >> 32, int(seed_or_key) % 2**32], np.uint32)
    if isinstance(seed_or_key, (np.ndarray, jax.Array)):
        if jnp.issubdtype(seed_or_key.dtype, jax.dtypes.prng_key):
            if jnp.ndim(seed_or_key) == 0 and str(jr.key_impl(seed_or_key)) == GENERATOR:
                return jnp.asarray(seed_or_key)
        elif seed_or_key.dtype == jnp.uint32 and seed_or_key.shape == (2,):
            if isinstance(seed_or_key, jax.Array):
                return jr.wrap_key_data(seed_or_key, impl=GENERATOR)
            with jax.ensure_compile_time_eval():  # a number also where a function is traced
                return jr.wrap_key_data(jnp.asarray(seed_or_key), impl=GENERATOR)
        elif seed_or_key.size == 1 and jnp.issubdtype(seed_or_key.dtype, jnp.integer):
            return jr.key(jnp.reshape(seed_or_key, ()), impl=GENERATOR)
    raise ParameterError(
        f"{seed_or_key!r:.80} is no seed and no key. Give an integer from 0 to 2**64 - 1, a key of jax.random.key(seed, "
        f"impl={GENERATOR!r}), or the two uint32 words of one."
    )


def default() -> RandomState:
    """The source that the functions of `dist_sim.random` draw from; made when it is first asked for, with the seed 0."""
    global _default
    with _LOCK:
        if _default is None:
            # In a thread of its own, outside of any trace and any mesh that are open here: it outlives them.
            with ThreadPoolExecutor(1) as elsewhere:
                _default = elsewhere.submit(RandomState, 0, "random.DEFAULT").result()
    return _default


_default: RandomState | None = None


def _seeded(seed_or_key: SeedOrKey) -> jax.Array:
    if seed_or_key is None:
        if jax.process_count() > 1:
            raise ParameterError("a random seed would differ between the processes of this run. Give one: seed(1).")
        seed_or_key = secrets.randbits(64)
    return as_key(seed_or_key)
