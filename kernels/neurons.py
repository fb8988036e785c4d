"""One step of all neurons of one model: a text in plain jnp, run by JAX (the reference) or printed into compiled C++.

States are (states, n) and counters (counters, n), in place where compiled. A parameter is one number for all neurons or one
per neuron.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels import backend as backends
from dist_sim.kernels import cuda
from dist_sim.kernels.philox import philox4x32
from dist_sim.kernels.scalar.guarded import run, uncontracted
from dist_sim.kernels.scalar.printed import Source, body, stores
from dist_sim.kernels.scalar.text import Text

NEURON_STREAMS = 3 << 30  # synapses have the streams from 0, parameters those from 1 << 30, Poisson input those from 2 << 30


@final
@dataclass(frozen=True, kw_only=True)
class NeuronText:
    """What one step does to one neuron of a model.

    Attributes:
        name: of the model.
        numbers, wholes: names of the parameters of the step, floating-point and whole.
        states, counters: likewise, of what a step changes.
        channels: of input; `currents`: ports of injected currents; `uniforms`: random numbers of a step.
        several: whether a neuron can send more than one spike in a step.
        update: its inputs are numbers, wholes, states, counters, channels, currents, step, uniforms, in this order, and of a
            model with `substep` the states and counters as they were before the solve; its outputs states, counters, and
            spikes (INT).
        substep: one trial of an adaptive solver: numbers, wholes, states, counters, channels, currents, time; gives states,
            counters, the time, spikes. It is repeated until no time is below the first number, which is dt.
    """

    name: str
    dtype: np.dtype
    numbers: tuple[str, ...]
    wholes: tuple[str, ...]
    states: tuple[str, ...]
    counters: tuple[str, ...]
    channels: int
    currents: int
    uniforms: int
    several: bool
    update: Text
    substep: Text | None = None

    @functools.cached_property
    def target(self) -> str:
        """Name of the compiled kernel: the same text has the same name."""
        counts = self.channels, self.currents, self.uniforms, self.several, len(self.states)
        texts = [(str(text.jaxpr), text.jaxpr.consts) for text in (self.update, self.substep) if text is not None]
        digest = hashlib.sha256(repr((self.dtype.name, counts, texts)).encode()).hexdigest()[:12]
        return f"{re.sub('[^A-Za-z0-9_]', '_', self.name)}_{self.dtype.name}_{digest}"


@final
@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of the neurons of a device, in the order of a text's numbers, then its wholes.

    Attributes:
        rows: (parameters,) int32 (numpy): row in `own` or `own_whole`, or -1 - place in `shared` or `shared_whole`.
        shared, shared_whole: (k,); own, own_whole: (k, n).
    """

    rows: np.ndarray
    shared: Any
    own: Any
    shared_whole: Any
    own_whole: Any

    def values(self, numbers: int) -> list[Any]:
        """(1,) or (n,) each."""
        kinds = [(self.own, self.shared)] * numbers + [(self.own_whole, self.shared_whole)] * (len(self.rows) - numbers)
        return [own[row] if row >= 0 else shared[-1 - row][None] for row, (own, shared) in zip(self.rows, kinds, strict=True)]


def _update(
    call: Any, load: Any, text: NeuronText, step, arriving, parameters: Parameters, quanta, currents, states, counters, ids, key,
    *, offset: int, stream: int,
):  # fmt: skip
    load([text])
    n = _size(text, states, counters)
    results = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (states, counters)]
    results += [jax.ShapeDtypeStruct((n // 32,), jnp.uint32), jax.ShapeDtypeStruct((n if text.several else 0,), jnp.int32)]
    p = parameters
    return call(
        text.target, results, step, arriving, jnp.asarray(p.rows), p.shared, p.own, p.shared_whole, p.own_whole, quanta, currents,
        ids, key, states, counters, in_place={11: 0, 12: 1}, source=None, n=np.int64(n), offset=np.int64(offset),
        threads=np.int64(arriving.shape[0]), stream=np.uint32(stream),
    )  # fmt: skip


def _size(text: NeuronText, states, counters) -> int:
    return states.shape[1] if text.states else counters.shape[1]


def _update_native(*args: Any, **options: Any) -> Any:
    return _update(backends.call, load_compiled, *args, **options)


def _update_cuda(*args: Any, **options: Any) -> Any:
    return _update(cuda.call, load_cuda, *args, **options)


@backends.kernel(native=_update_native, cuda=_update_cuda)
def update(
    text: NeuronText, step, arriving, parameters: Parameters, quanta, currents, states, counters, ids, key, *, offset: int,
    stream: int,
):  # fmt: skip
    """One step.

    Args:
        step: () int32.
        arriving: (threads, size) integers, the input vector of the device; this model's part (channels, n) begins at `offset`.
        quanta: (channels, 1 or n), what one unit of the input stands for.
        currents: (ports, 1 or n) pA.
        states: (states, n); counters: (counters, n) int32.
        ids: (n,) uint32 global ids where the text has uniforms, else (0,).
        key: (2,) uint32, see `key_words`; stream: of the uniform numbers.

    Returns:
        states, counters, the spikes as bits (n / 32,) uint32, and counts of spikes (n,) int32, or (0,) where a neuron sends at
        most one.
    """
    n = _size(text, states, counters)
    new = arriving[:, offset : offset + text.channels * n].sum(axis=0, dtype=arriving.dtype).reshape(text.channels, n)
    arrived = [uncontracted(row.astype(text.dtype) * quantum) for row, quantum in zip(new, quanta, strict=True)]
    u = _uniforms(text, ids, step, key, stream)
    y, c, spikes = advance(
        text,
        parameters.values(len(text.numbers)),
        list(states),
        list(counters),
        arrived,
        list(currents)[: text.currents],
        step,
        u,
    )
    y, c = ([jnp.broadcast_to(v, (n,)).astype(old.dtype) for v in vs] for vs, old in ((y, states), (c, counters)))
    spikes = jnp.broadcast_to(spikes, (n,))
    return (
        jnp.stack(y) if y else states, jnp.stack(c) if c else counters, pack(spikes != 0),
        spikes if text.several else jnp.zeros(0, jnp.int32),
    )  # fmt: skip


def advance(
    text: NeuronText, p: list, y: list, c: list, arrived: list, currents: list, step, uniforms: list
) -> tuple[list, list, Any]:
    """One step of the reference on arrays that broadcast against each other; differentiable.

    Returns:
        States, counters, and the number of spikes (int32).
    """
    before, spikes = [], jnp.int32(0)
    if text.substep is not None:
        before = [*y, *c]
        solved: Any = _solve(text, (p, y, c, [*arrived, *currents]))
        y, c, spikes = solved
    results = run(text.update, [*p, *y, *c, *arrived, *currents, step, *uniforms, *before])
    return results[: len(y)], results[len(y) : -1], results[-1].astype(jnp.int32) + spikes


_MOST_TRIALS = 64  # of a step, that a gradient goes back through


def _trial(text: NeuronText, given: tuple[list, list, list, list], t, spikes) -> tuple:
    assert text.substep is not None
    p, y, c, arriving = given
    results = run(text.substep, [*p, *y, *c, *arriving, t])
    counted = [jnp.broadcast_to(v, t.shape).astype(jnp.int32) for v in results[len(y) : -2]]
    return (p, results[: len(y)], counted, arriving), results[-2], spikes + results[-1].astype(jnp.int32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _solve(text: NeuronText, given: tuple[list, list, list, list]) -> Any:
    """Trials until every neuron has come to the end of the step."""
    dt, t = given[0][0], jnp.zeros_like(given[1][0])
    start = (given, t, jnp.zeros(t.shape, jnp.int32))
    (_, y, c, _), _, spikes = jax.lax.while_loop(lambda s: (s[1] < dt).any(), lambda s: _trial(text, *s), start)
    return y, c, spikes


def _solve_forward(text: NeuronText, given: tuple[list, list, list, list]) -> tuple:
    return _solve(text, given), given


def _solve_backward(text: NeuronText, given: tuple[list, list, list, list], cotangents: tuple) -> tuple:
    """Through the same trials, in a loop of known length: how many there are, a reverse derivative has to know beforehand."""

    def unrolled(given):
        t = jnp.zeros_like(given[1][0])
        start = (given, t, jnp.zeros(t.shape, jnp.int32))
        (_, y, c, _), _, spikes = jax.lax.scan(lambda s, _: (_trial(text, *s), None), start, None, length=_MOST_TRIALS)[0]
        return y, c, spikes

    return jax.vjp(unrolled, given)[1](cotangents)


_solve.defvjp(_solve_forward, _solve_backward)


def _uniforms(text: NeuronText, ids, step, key, stream: int) -> list:
    """Numbers in (0, 1), keyed by (key, stream, id, step)."""
    drawn = []
    for which in range(text.uniforms):
        words = philox4x32(key[0], key[1], ids >> 2, step.astype(jnp.uint32), jnp.uint32(which), jnp.uint32(stream))
        word = jnp.stack(words)[ids & 3, jnp.arange(ids.shape[0])]
        if text.dtype == np.float64:
            drawn.append((word.astype(jnp.float64) + 0.5) * 2.0**-32)
        else:
            drawn.append(((word >> 8).astype(jnp.float32) + 0.5) * np.float32(2.0**-24))
    return drawn


def pack(spiking: jax.Array) -> jax.Array:
    """Booleans (..., n) as bits (..., n / 32) uint32, lowest bit first."""
    words = spiking.reshape(*spiking.shape[:-1], -1, 32).astype(jnp.uint32)
    return (words << jnp.arange(32, dtype=jnp.uint32)).sum(axis=-1, dtype=jnp.uint32)


# ---- compiled ----


def load_compiled(texts: Sequence[NeuronText]) -> None:
    """Compiles and loads the kernels of models, those together that are not loaded yet."""
    backends.load_printed({text.target: text for text in texts}, source_of)


def load_cuda(texts: Sequence[NeuronText]) -> None:
    """Builds and loads the CUDA kernels of models."""
    cuda.load_printed({text.target: text for text in texts}, cuda_of)


@backends.kernel(native=load_compiled, cuda=load_cuda)
def prepare(texts: Sequence[NeuronText]) -> None:
    """What a backend needs of models beforehand: the reference nothing."""


def struct_of(text: NeuronText) -> str:
    """The texts of a model as a C++ struct, for CPUs and GPUs."""
    source = Source()
    number = "double" if text.dtype == np.float64 else "float"
    names = {
        "p": len(text.numbers), "q": len(text.wholes), "y": len(text.states), "c": len(text.counters), "x": text.channels,
        "a": text.currents, "u": text.uniforms,
    }  # fmt: skip
    rows = {name: [f"{name}[{k}]" for k in range(count)] for name, count in names.items()}
    common = [*rows["p"], *rows["q"], *rows["y"], *rows["c"]]
    solving: list[str] = []
    given = [*common, *rows["x"], *rows["a"], "step", *rows["u"]]
    before = {f"{row[0]}{k}_": (kind, row) for kind, name in (("V", "y"), ("I", "c")) for k, row in enumerate(rows[name])}
    if text.substep is not None:
        lines, results = body(text.substep, [*common, *rows["x"], *rows["a"], "t"], source)
        changed = [*rows["y"], *rows["c"], "t", "more"]
        solving = [
            "V t = constant(0);", "do {", *(f"  {line}" for line in lines), "  I more;",
            *(f"  {line}" for line in stores(text.substep, changed, results)), "  spikes += more;", "} while (any(t < p[0]));",
        ]  # fmt: skip
        given += before
    lines, results = body(text.update, given, source)
    updating = [*lines, "I more;", *stores(text.update, [*rows["y"], *rows["c"], "more"], results), "spikes += more;"]
    used = set(re.findall(r"\b[yc]\d+_", "\n".join(updating)))
    solving = [*(f"const {kind} {n} = {row};" for n, (kind, row) in before.items() if n in used), *solving]
    inside = "\n".join(f"    {line}" for line in [*solving, "{", *updating, "}"])
    functions = "\n\n".join(f"  {line}" for line in str(source).splitlines())
    functions = functions.replace("\n\n", "\n")
    counts = ("NUMBERS", "WHOLES", "STATES", "COUNTERS", "CHANNELS", "CURRENTS", "UNIFORMS")
    constants = ", ".join(f"{k} = {v}" for k, v in zip(counts, names.values(), strict=True))
    return f"""
struct model_{text.target} : dist_sim::Operations<{number}> {{
  static constexpr int {constants};
  static constexpr bool SOLVES = {"false" if text.substep is None else "true"};
{functions}
  template <class P, class Y>
  INLINE void run(const P p, const I* q, const Y y, I* c, const P x, const P a, const I step, const V* u, I& spikes) {{
{inside}
  }}
}};
"""


def source_of(text: NeuronText) -> str:
    """The C++ of a model: its struct, and the function that XLA calls."""
    number = "double" if text.dtype == np.float64 else "float"
    return f"""{struct_of(text)}
// @BE {text.target}
void {text.target}(const Tensor step, const Tensor arriving, const Tensor rows, const Tensor shared, const Tensor own,
    const Tensor shared_whole, const Tensor own_whole, const Tensor quanta, const Tensor currents, const Tensor ids,
    const Tensor key, const Tensor states_old, const Tensor counters_old, Tensor states, Tensor counters, Tensor bits,
    Tensor counts, int64_t n, int64_t offset, int64_t threads, uint32_t stream) {{
  dist_sim::call_model<model_{text.target}, {number}, {int(text.several)}>(step, arriving, rows, shared, own, shared_whole,
      own_whole, quanta, currents, ids, key, states_old, counters_old, states, counters, bits, counts, n, offset, threads,
      stream);
}}
"""


def cuda_of(text: NeuronText) -> str:
    """The CUDA of a model: its struct, its kernel, and what XLA calls."""
    number = "double" if text.dtype == np.float64 else "float"
    model = f"model_{text.target}, {number}"
    return f"""#include "model.cuh"
{struct_of(text)}
extern "C" __global__ void __launch_bounds__((dist_sim::THREADS<{model}>), 1)
{text.target}_kernel(const dist_sim::Arguments<{number}> at) {{ dist_sim::step_grid<{model}>(at); }}
TARGET({text.target}, {{
  const auto at = dist_sim::arguments_of<{number}, {"true" if text.several else "false"}>(call);
  constexpr int threads = dist_sim::THREADS<{model}>;
  if (!call.problem) LAUNCH({text.target}_kernel, at.n / threads, threads, call.stream, at);
}})
"""
