from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.kernels.counts import split_evenly
from dist_sim.network.rules.rule import Ends, Rule, Sources, count, require_source


@final
@dataclass(frozen=True)
class fixed_total_number(Rule):
    """`N` synapses between pairs drawn uniformly, with replacement (multapses must be allowed, as in NEST)."""

    name: ClassVar[str] = "fixed_total_number"
    N: int

    def check(self, ends: Ends, where: str) -> None:
        total = count(self.N, "N", where)
        if not ends.multapses:
            raise ConnectError(f"{where}: fixed_total_number draws pairs with replacement; it cannot forbid multapses.")
        if total and ends.num_post == 0:
            raise ConnectError(f"{where}: N={total} synapses, but no target.")
        if total:
            require_source(ends, where)

    def mean_indegree(self, ends: Ends) -> float:
        return self.N / max(1, ends.num_post)

    def sources(self, ends: Ends) -> Sources:
        degrees = split_evenly(self.N, ends.num_post, seed=ends.seed, stream=ends.stream, backend=ends.backend)
        return Sources(kind=build.UNIFORM, degrees=degrees[ends.local].astype(np.int64))
