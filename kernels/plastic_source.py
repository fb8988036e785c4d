"""Texts of changing synapses as C++: a struct of what happens to one synapse, for the loops of `cpp/plastic.h`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dist_sim.kernels import backend as backends
from dist_sim.kernels.plastic import SynapseText
from dist_sim.kernels.scalar.printed import Source, body, stores
from dist_sim.kernels.scalar.text import Text


def load_compiled(texts: Sequence[SynapseText]) -> None:
    """Compiles and loads the kernels of models, those together that are not loaded yet."""
    backends.load_printed({text.target: text for text in texts}, source_of)


@backends.kernel(native=load_compiled)
def prepare(texts: Sequence[SynapseText]) -> None:
    """What a backend needs of models beforehand: the reference nothing."""


def source_of(text: SynapseText) -> str:
    """The C++ of a model's synapses."""
    number = _number(text)
    return law_of(text) + _entry(text.target, number, watched=False) + _entry(text.target, number, watched=True)


def law_of(text: SynapseText) -> str:
    """The struct of what happens to one synapse of a model."""
    source = Source(costly_branch="static __attribute__((noinline, cold))")
    rows = {
        name: [f"{name}[{k}]" for k in range(count)]
        for name, count in (
            ("p", len(text.parameters)), ("s", len(text.variables)), ("d", len(text.decays)), ("k", len(text.traces)),
            ("u", text.uniforms),
        )
    }  # fmt: skip
    known = [*rows["p"], *rows["s"], *rows["d"]]
    posting = [] if text.on_post is None else _body(text.on_post, [*known, *rows["k"][: text.stored], "h"], rows["s"], source)
    arriving = _body(text.on_pre, [*known, *rows["k"], "h", "first", *rows["u"]], [*rows["s"], "sent", "passes"], source)
    functions = "\n".join(f"  {line}" for line in str(source).splitlines() if line)
    counts = dict(
        PARAMETERS=len(text.parameters), VARIABLES=len(text.variables), DECAYS=len(text.decays), TRACES=len(text.traces),
        STORED=text.stored, UNIFORMS=text.uniforms, LISTENS=int(text.listens),
    )  # fmt: skip
    return f"""
#include "plastic.h"
struct law_{text.target} : dist_sim::OneLane<{_number(text)}> {{
  static constexpr int {", ".join(f"{k} = {v}" for k, v in counts.items())};
{functions}
  INLINE void on_post(const V* p, V* s, const V* d, const V* k, const V h) {{
{_indented(posting)}
  }}
  INLINE void on_pre(const V* p, V* s, const V* d, const V* k, const V h, const M first, const V* u, V& sent, M& passes) {{
{_indented(arriving)}
  }}
}};
"""


def _number(text: SynapseText) -> str:
    return "double" if text.dtype == np.float64 else "float"


def _entry(target: str, number: str, *, watched: bool) -> str:
    """The function that XLA calls."""
    known = (
        "step", "key", "ring", "marks", "pointers", "fixed", "place", "targets", "scale", "kinds", "kind_tau", "fine", "coarse",
        "post_steps", "post_traces", "post_count",
    )  # fmt: skip
    of_log = ["log_synapse", "log_emitted", "log_weight", "log_count"] if watched else []
    changing = ["counters", "state", "last", "input", *of_log]
    given = [*known, *(["watched"] if watched else []), *(f"{name}_old" for name in changing), *changing]
    name = f"{target}_watched" if watched else target
    log = "{data<int32_t>(watched), data<uint32_t>(log_synapse), data<int32_t>(log_emitted), data<T>(log_weight), " \
          "data<uint32_t>(log_count), log_synapse.numel()}" if watched else "{}"  # fmt: skip
    arguments = ", ".join(f"const Tensor {a}" if a not in changing else f"Tensor {a}" for a in given)
    return f"""
// @BE {name}
void {name}({arguments}, int64_t min_delay, int64_t num_delays, int64_t threads, int64_t period, int64_t bits,
    uint32_t stream) {{
  using namespace dist_sim;
  using T = {number};
  {" ".join(f"same({a}_old, {a});" for a in changing)}
  const WeightLog<T> log{log};
  deliver_changing<law_{target}, T>({", ".join([*known, *changing[:4]])}, min_delay, num_delays, threads, period, bits,
      stream, log);
}}
"""


def _body(text: Text, arguments: Sequence[str], results: Sequence[str], source: Source) -> list[str]:
    lines, values = body(text, arguments, source)
    return [*lines, *stores(text, results, values)]


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
