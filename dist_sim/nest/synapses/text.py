"""From what a synapse model declares to the texts of one synapse."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import jax.numpy as jnp
import numpy as np

from dist_sim.errors import UnknownNameError
from dist_sim.kernels.plastic import SynapseText
from dist_sim.kernels.scalar.text import BOOL, FLOAT, trace
from dist_sim.nest.values import Values

if TYPE_CHECKING:
    from dist_sim.nest.synapses.synapse import Synapse


@final
@dataclass(frozen=True)
class Model:
    """A synapse model as the network knows it."""

    synapse: type[Synapse]

    @property
    def name(self) -> str:
        return self.synapse.__name__

    def text(self, dtype: Any, uniforms: int) -> SynapseText:
        return _text(self.synapse, np.dtype(dtype), uniforms)

    def target_taus(self) -> tuple[str, ...]:
        return tuple(t.tau for t in _traces(self.synapse).values())


def _traces(synapse: type[Synapse]) -> dict[str, Any]:
    """Those that add up first."""
    return dict(sorted(synapse.traces.items(), key=lambda item: item[1].nearest))


@functools.cache
def _text(synapse: type[Synapse], dtype: np.dtype, uniforms: int) -> SynapseText:
    name, traces = synapse.__name__, _traces(synapse)
    parameters, variables = ["dt", *synapse.parameters], ["weight", *synapse.variables]
    decays = [n for n, p in synapse.parameters.items() if p.decays]
    stored = [n for n, t in traces.items() if not t.nearest]
    shared = [*parameters, *variables, *decays]

    def event(take: Any, met: list[str]) -> tuple[Values, Values, dict[str, Any]]:
        p = Values(f"parameter of {name}", {n: next(take) for n in parameters})
        s = Values(f"variable of {name}", {n: next(take) for n in variables})
        decay = Values(f"time constant of {name} that decays", {n: next(take) for n in decays})
        return s, p, {"decay": decay, **{n: next(take) for n in met}, "h": next(take)}

    def changed(s: Values, changes: Mapping[str, Any], where: str) -> list[Any]:
        for n in changes:
            if n not in variables:
                raise UnknownNameError("variable", n, variables, where=f"{name}.{where}")
        return [jnp.asarray(changes.get(n, getattr(s, n)), dtype) for n in variables]

    def post(*given: Any) -> tuple:
        assert synapse.on_post is not None
        s, p, e = event(iter(given), stored)
        return tuple(changed(s, synapse.on_post(s, p, Values(f"event of {name}.on_post", e)), "on_post"))

    def pre(*given: Any) -> tuple:
        assert synapse.on_pre is not None
        take = iter(given)
        s, p, e = event(take, list(traces))
        e |= {"first": next(take), "uniforms": tuple(take)}
        changes, sent, *passes = synapse.on_pre(s, p, Values(f"event of {name}.on_pre", e))
        passing = passes[0] if passes else True
        return (*changed(s, changes, "on_pre"), jnp.asarray(sent, dtype), jnp.asarray(passing, bool))

    floats = (FLOAT,) * len(shared)
    return SynapseText(
        name=name, dtype=dtype, parameters=tuple(parameters), decays=tuple(decays), variables=tuple(variables),
        traces=tuple(traces), stored=len(stored), uniforms=uniforms,
        on_post=None if synapse.on_post is None else trace(name, post, (*floats, *(FLOAT,) * len(stored), FLOAT), dtype),
        on_pre=trace(name, pre, (*floats, *(FLOAT,) * len(traces), FLOAT, BOOL, *(FLOAT,) * uniforms), dtype),
    )  # fmt: skip
