from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar, final

from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.kernels.counts import binomial, uniform53
from dist_sim.network.rules.rule import Ends, Rule, Sources, pool_sizes


@final
@dataclass(frozen=True)
class pairwise_bernoulli(Rule):
    """Every pair with probability `p`, independently, at most once.

    Drawn as a binomial number of sources per target and as many different sources, which is the same distribution.
    """

    name: ClassVar[str] = "pairwise_bernoulli"
    p: float

    def check(self, ends: Ends, where: str) -> None:
        if not isinstance(self.p, Real) or not 0 <= self.p <= 1:
            percent = " Is it in percent?" if isinstance(self.p, Real) and 1 < self.p <= 100 else ""
            raise ConnectError(f"{where}: p must lie in [0, 1]; got {self.p!r}.{percent}")

    def mean_indegree(self, ends: Ends) -> float:
        return self.p * ends.num_pre

    def sources(self, ends: Ends) -> Sources:
        uniform = uniform53(ends.seed, ends.stream, ends.local_ids)
        return Sources(kind=build.DISTINCT, degrees=binomial(pool_sizes(ends), self.p, uniform))
