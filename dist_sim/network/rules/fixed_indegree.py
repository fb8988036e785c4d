from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.network.rules.rule import Ends, Rule, Sources, count, require_source


@final
@dataclass(frozen=True)
class fixed_indegree(Rule):
    """Every target has `indegree` sources, drawn uniformly; with replacement if multapses are allowed.

    Weights and delays may be arrays (num_targets, indegree).
    """

    name: ClassVar[str] = "fixed_indegree"
    indegree: int

    def check(self, ends: Ends, where: str) -> None:
        indegree = count(self.indegree, "indegree", where)
        if indegree == 0:
            return
        require_source(ends, where)
        pool = ends.num_pre - (not ends.autapses and np.isin(ends.post_ids, ends.pre_ids).any())
        if not ends.multapses and indegree > pool:
            raise ConnectError(f"{where}: indegree={indegree} of only {pool} possible sources. Allow multapses or take fewer.")

    def mean_indegree(self, ends: Ends) -> float:
        return float(self.indegree)

    def shape(self, ends: Ends) -> tuple[int, ...]:
        return ends.num_post, self.indegree

    def sources(self, ends: Ends) -> Sources:
        degrees = np.full(len(ends.local), self.indegree, dtype=np.int64)
        return Sources(kind=build.UNIFORM if ends.multapses else build.DISTINCT, degrees=degrees)

    def entry(self, ends: Ends) -> np.ndarray:
        """(num_synapses,) place of each synapse in a (num_targets, indegree) array."""
        return (ends.local[:, None] * self.indegree + np.arange(self.indegree)).reshape(-1)
