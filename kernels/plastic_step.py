"""Changing synapses at the spikes of one step: the same texts of ONE synapse as in `plastic.py`, for models whose spikes are at
hand when they act.

A synapse has its place in a row of its target. What all synapses of a source share, when it spiked last, is there once. In a
step the targets that spike meet their synapses first (`on_post`); then the sources that spike do (`on_pre`), which meet the
targets' spikes before this step; then the traces of the targets take the spikes of the step in. Spikes of sources may be numbers:
what a synapse passes on is times that number, and it acts where that is not 0.

`cpp/plastic_step.h` is what the texts are printed into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels import backend as backends
from dist_sim.kernels.decays import decayed
from dist_sim.kernels.plastic import SynapseText
from dist_sim.kernels.plastic_source import law_of
from dist_sim.kernels.scalar.guarded import run, uncontracted


def _step(text: SynapseText, now, spikes, posts, pointers, synapses, sources, constants, *changing, bits: int):
    backends.load_printed({_target(text): text}, source_of)
    known = now.reshape(1), spikes, posts, pointers, synapses, sources, *constants
    results = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in changing]
    in_place = {len(known) + k: k for k in range(len(changing))}
    return backends.call(_target(text), results, *known, *changing, in_place=in_place, source=None, bits=np.int64(bits))


@backends.kernel(native=_step)
def step(
    text: SynapseText, now: jax.Array, spikes: jax.Array, posts: jax.Array, pointers: jax.Array, synapses: jax.Array,
    sources: jax.Array, constants: Sequence[jax.Array], onto: jax.Array, last: jax.Array, last_post: jax.Array,
    traces: jax.Array, *variables: jax.Array, bits: int,
) -> tuple[Any, ...]:  # fmt: skip
    """What the synapses pass on, and what becomes of them.

    Args:
        text: takes no random numbers.
        now: () int32, the step.
        spikes: (num_sources,) booleans or of the dtype of `onto`; posts: (targets,) booleans.
        pointers, synapses: see `sparse`; the second column is a place in the rows.
        sources: (at least targets, width) int32, the source of each synapse of a target; -1 behind the last.
        constants: numbers (parameters,), dt first; fine, coarse: of `decays`, a row for each time constant, then for each trace.
        onto: (targets,).
        last: (num_sources,) int32; last_post: (targets,) int32: step of the last spike, -1 at first.
        traces: (targets, max(1, stored)): just after the last spike.
        variables: (targets, width) each, the weight first.

    Returns:
        onto, with what arrives; last; last_post; traces; the variables.
    """
    sources = sources[: len(posts)]
    numbers, fine, coarse = constants
    p, count = list(numbers), len(text.decays)

    def fading(since: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        return [decayed(fine, coarse, bits, k, since) for k in range(count)], uncontracted(since.astype(text.dtype) * p[0])

    gone = jnp.where(last_post < 0, 0, now - last_post)
    met = []
    for m in range(len(text.traces)):
        faded = decayed(fine, coarse, bits, count + m, gone)
        met.append(jnp.where(last_post < 0, 0, uncontracted(traces[:, m] * faded) if m < text.stored else faded))
    since = now - last[sources]
    d, h = fading(since)
    if text.on_post is not None:
        new = run(text.on_post, [*p, *variables, *d, *(x[:, None] for x in met[: text.stored]), h])
        meets = posts[:, None] & (sources >= 0)
        variables = tuple(jnp.where(meets, a, b) for a, b in zip(new, variables, strict=True))
    *new, w, passes = run(text.on_pre, [*p, *variables, *d, *(x[:, None] for x in met), h, last[sources] < 0])
    meets = (spikes[sources] != 0) & (sources >= 0)
    variables = tuple(jnp.where(meets, a, b).astype(text.dtype) for a, b in zip(new, variables, strict=True))
    sent = jnp.where(meets & passes, uncontracted(w * spikes[sources].astype(text.dtype)), 0).reshape(-1)[synapses[:, 1]]
    # The padding behind the last synapse passes nothing on.
    sent = jnp.where(jnp.arange(len(sent), dtype=pointers.dtype) < pointers[-1], sent, 0)
    onto = onto.at[synapses[:, 0].astype(jnp.int32)].add(sent)
    for m in range(text.stored):
        traces = traces.at[:, m].set(jnp.where(posts, met[m] + 1, traces[:, m]))
    return onto, jnp.where(spikes != 0, now, last), jnp.where(posts, now, last_post), traces, *variables


def _target(text: SynapseText) -> str:
    return f"{text.target}_step"


def source_of(text: SynapseText) -> str:
    """The C++ of a model's synapses at the spikes of a step."""
    number = "double" if text.dtype == np.float64 else "float"
    known = ["now", "spikes", "posts", "pointers", "synapses", "sources", "numbers", "fine", "coarse"]
    changing = ["onto", "last", "last_post", "traces", *(f"variable_{k}" for k in range(len(text.variables)))]
    arguments = [
        *(f"const Tensor {name}" for name in known), *(f"const Tensor {name}_old" for name in changing),
        *(f"Tensor {name}" for name in changing),
    ]  # fmt: skip
    variables = ", ".join(f"data<T>({name})" for name in changing[4:])
    return f"""
{law_of(text)}
#include "plastic_step.h"
// @BE {_target(text)}
void {_target(text)}({", ".join(arguments)}, int64_t bits) {{
  using namespace dist_sim;
  using T = {number};
  {" ".join(f"same({name}_old, {name});" for name in changing)}
  const SynapseRows<law_{text.target}, T> rows{{
      data<uint32_t>(pointers), data<uint32_t>(synapses), data<int32_t>(sources), spikes.numel(), posts.numel(), sources.shape(1),
      data<T>(numbers), {{data<T>(fine), data<T>(coarse), bits, coarse.shape(1)}}, data<T>(onto), data<int32_t>(last),
      data<int32_t>(last_post), data<T>(traces), {{{variables}}}}};
  step_changing<law_{text.target}, T>(now, spikes, posts, rows);
}}
"""
