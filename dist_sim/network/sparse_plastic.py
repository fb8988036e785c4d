"""Changing synapses of a table as an operation of JAX: what they pass on for the spikes of a step, and what becomes of them.

Inside a program over a mesh spikes of sources, and when they came last, are whole; what stands for targets stays on their device.
It has no derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import PartitionSpec as P

from dist_sim.errors import ParameterError
from dist_sim.kernels import plastic_step
from dist_sim.kernels.plastic import SynapseText
from dist_sim.network.sparse_sums import Table, of_this_device, refuse_other_tables
from dist_sim.partition.blocks import Blocks, Kind, Split, Value, rule
from dist_sim.partition.mesh import NEURON

# Operands: now, spikes, posts, pointers, synapses, sources, numbers, fine, coarse, onto, last, last_post, traces, variables.
_POSTS, _TABLE, _ONTO, _LAST = 2, (3, 4, 5), 9, 10
# Those of the table have the devices along their first axis.


def _by_target(k: int) -> bool:
    """Whether an operand has targets along its first axis."""
    return k in (_POSTS, _ONTO) or k > _LAST


def _local(text: SynapseText, table: Table, bits: int, x: Sequence[jax.Array]) -> list[jax.Array]:
    """On one device, with its part of the table."""
    return list(plastic_step.step(text, *x[:6], x[6:9], *x[9:], bits=bits, backend=table.backend))


def _over_blocks(text: SynapseText, table: Table, bits: int, operands: Sequence[jax.Array]) -> list[jax.Array]:
    """Where what has targets along an axis is padded, and split over the mesh."""
    specs = [P(NEURON) if _by_target(k) or k in _TABLE else P() for k in range(len(operands))]

    def local(*x: jax.Array) -> list[jax.Array]:
        return _local(text, table, bits, [v[0] if k in _TABLE else v for k, v in enumerate(x)])

    run = jax.shard_map(local, mesh=table.mesh, in_specs=tuple(specs), out_specs=specs[_ONTO:], check_vma=False)
    return run(*operands)


def _computed(*operands: jax.Array, text: SynapseText, table: Table, bits: int, blocked: bool) -> list[jax.Array]:
    missing = table.block * table.devices - table.num_targets
    if not blocked and table.devices == 1:
        # Not padded and cut again in every step, as many numbers as there are synapses.
        return _local(text, table, bits, [x[0] if k in _TABLE else x for k, x in enumerate(operands)])
    if blocked or not missing:
        return _over_blocks(text, table, bits, operands)

    def padded(k: int, x: jax.Array) -> jax.Array:
        return jnp.pad(x, [(0, missing), *[(0, 0)] * (x.ndim - 1)]) if _by_target(k) else x

    out = _over_blocks(text, table, bits, [padded(k, x) for k, x in enumerate(operands)])
    return [x[: table.num_targets] if _by_target(_ONTO + k) else x for k, x in enumerate(out)]


STEP = Primitive("plastic_step")
STEP.multiple_results = True
STEP.def_impl(jax.jit(_computed, static_argnames=("text", "table", "bits", "blocked")))
STEP.def_abstract_eval(lambda *x, **_: [ShapedArray(v.shape, v.dtype) for v in x[_ONTO:]])
mlir.register_lowering(STEP, mlir.lower_fun(_computed, multiple_results=True))


def _tangent(primals: Sequence[Any], tangents: Sequence[Any], *, text: SynapseText, **params: Any) -> tuple[Any, Any]:
    if any(type(t) is not ad.Zero and t.dtype != jax.dtypes.float0 for t in tangents):
        raise ParameterError(
            f"The synapses of {text.name} change with spikes, and have no derivative. Cut what reaches them out of it: "
            "jax.lax.stop_gradient(spikes)."
        )
    out = STEP.bind(*primals, text=text, **params)
    return out, [ad.Zero(jax.typeof(x).to_tangent_aval()) for x in out]


ad.primitive_jvps[STEP] = _tangent


def _batch(operands: Sequence[Any], dims: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    """Networks that `vmap` lays side by side are computed one after the other; the table is that of all."""
    refuse_other_tables([dims[k] for k in _TABLE])
    known = {k for k, dim in enumerate(dims) if dim is None}
    given = [x if k in known else jnp.moveaxis(x, dims[k], 0) for k, x in enumerate(operands)]

    def one(mapped: Sequence[jax.Array]) -> list[jax.Array]:
        each = iter(mapped)
        return STEP.bind(*(x if k in known else next(each) for k, x in enumerate(given)), **params)

    out = jax.lax.map(one, [x for k, x in enumerate(given) if k not in known])
    return out, [0] * len(out)


batching.primitive_batchers[STEP] = _batch


@rule(STEP.name, always=True)
def _on_blocks(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    """Over the mesh of a program."""
    table: Table = eqn.params["table"]
    if table.mesh != blocks.mesh:
        return list(eqn.primitive.bind(*map(blocks.whole, values), **eqn.params))
    kind = Kind(0, table.num_targets)
    own: list[Any] = [blocks.split(x, kind) if _by_target(k) else x for k, x in enumerate(values)]
    if blocks.turn is None:
        whole = [x if _by_target(k) else blocks.whole(x) for k, x in enumerate(own)]
        out = eqn.primitive.bind(*whole, **{**eqn.params, "blocked": True})
    else:  # on the device, whose part of the table this is
        whole = [
            x if _by_target(k) else of_this_device(x) if k in _TABLE else blocks.whole(x) for k, x in enumerate(own)
        ]
        out = _local(eqn.params["text"], table, eqn.params["bits"], whole)
    return [Split(x, kind) if _by_target(_ONTO + k) else x for k, x in enumerate(out)]
