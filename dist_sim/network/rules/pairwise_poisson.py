from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar, final

import numpy as np

from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.kernels.counts import poisson_counts, uniform53
from dist_sim.network.rules.rule import Ends, Rule, Sources, pool_sizes


@final
@dataclass(frozen=True)
class pairwise_poisson(Rule):
    """A Poisson number of synapses, of mean `pairwise_avg_num_conns`, for every pair, independently.

    Drawn as a Poisson number of synapses per target with uniform sources, which is the same distribution.
    """

    name: ClassVar[str] = "pairwise_poisson"
    pairwise_avg_num_conns: float

    def check(self, ends: Ends, where: str) -> None:
        mean = self.pairwise_avg_num_conns
        if not isinstance(mean, Real) or not 0 <= mean < np.inf:
            raise ConnectError(f"{where}: pairwise_avg_num_conns must be a number of at least 0; got {mean!r}.")
        if not ends.multapses:
            raise ConnectError(f"{where}: pairwise_poisson connects pairs more than once; it cannot forbid multapses.")

    def mean_indegree(self, ends: Ends) -> float:
        return self.pairwise_avg_num_conns * ends.num_pre

    def sources(self, ends: Ends) -> Sources:
        uniform = uniform53(ends.seed, ends.stream, ends.local_ids)
        return Sources(kind=build.UNIFORM, degrees=poisson_counts(self.pairwise_avg_num_conns * pool_sizes(ends), uniform))
