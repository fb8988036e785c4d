"""Values of any States without placement: what a checkpoint holds of a program of Modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xxhash

from dist_sim.core import State
from dist_sim.errors import OutputError, ParameterError


def described(states: Sequence[State]) -> dict[str, str]:
    """What the States are, one line each: what must be the same for their values to be restored."""
    return {f"state {k}": repr(state) for k, state in enumerate(states)}


def values_everywhere(states: Sequence[State]) -> dict[str, str]:
    """A checksum of each value that every process has whole, such as seeds and weights that are not sharded."""
    return {
        f"value {j} of state {k} ({state.label})": xxhash.xxh3_64_hexdigest(np.asarray(bare.addressable_data(0)).tobytes())
        for k, state in enumerate(states)
        for j, leaf in enumerate(jax.tree.leaves(state.value))
        for bare in [_bare(leaf)]
        if bare.is_fully_addressable or bare.is_fully_replicated
    }


def portable_tree(values: Sequence[Any]) -> dict[str, np.ndarray]:
    """The parts of arrays that lie on this process's devices, each part of the whole once, named by where it begins:
    `<value>.<leaf>@<first row>,<first column>`. What every process has for itself is the same in all, and of the first."""
    found = {}
    for k, value in enumerate(values):
        for j, leaf in enumerate(jax.tree.leaves(value)):
            if leaf.is_fully_addressable and jax.process_index() > 0:
                continue
            for shard in _bare(leaf).addressable_shards:
                if shard.replica_id == 0:
                    begin = ",".join(str(s.start or 0) for s in shard.index)
                    found[f"{k}.{j}@{begin}"] = np.asarray(shard.data)
    return found


def restored_tree(parts: Iterable[Mapping[str, np.ndarray]], like: Sequence[Any]) -> list[Any]:
    """Values put together from the parts of all processes, placed as those in `like` are.

    Raises:
        ParameterError: the values saved are of other shapes. OutputError: some of it is missing.
    """
    wanted = {f"{k}.{j}": leaf for k, value in enumerate(like) for j, leaf in enumerate(jax.tree.leaves(value))}
    whole = {name: np.empty(bare.shape, bare.dtype) for name, leaf in wanted.items() for bare in [_bare(leaf)]}
    filled = dict.fromkeys(wanted, 0)
    for saved in parts:
        for name, part in saved.items():
            key, _, begin = name.partition("@")
            ends = tuple(int(b) + n for b, n in zip(begin.split(",") if begin else (), part.shape, strict=True))
            shape = whole[key].shape if key in whole else None
            if shape is None or len(ends) != len(shape) or any(end > n for end, n in zip(ends, shape, strict=True)):
                raise ParameterError(
                    f"state {key.partition('.')[0]}: what was saved up to {ends} does not fit "
                    f"{'into this program' if shape is None else shape}. Go on with the program that was saved."
                )
            whole[key][tuple(slice(end - n, end) for end, n in zip(ends, part.shape, strict=True))] = part
            filled[key] += part.size
    for key, array in whole.items():
        if filled[key] != array.size:
            raise OutputError(f"the checkpoint holds {filled[key]} of {array.size} numbers of state {key}.")
    leaves = iter(_placed(whole[name], leaf) for name, leaf in wanted.items())
    return [jax.tree.unflatten(jax.tree.structure(v), [next(leaves) for _ in jax.tree.leaves(v)]) for v in like]


def restore_states(states: Sequence[State], parts: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Gives States the values that `restored_tree` puts together. Errors: as of that."""
    for state, value in zip(states, restored_tree(parts, [state.value for state in states]), strict=True):
        state.restore_value(value)


def _placed(array: np.ndarray, like: jax.Array) -> jax.Array:
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(like))
    return jax.make_array_from_callback(array.shape, like.sharding, lambda at: array[at])


def _bare(leaf: Any) -> Any:
    """Of an array of keys, their bits."""
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
