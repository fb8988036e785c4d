from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dist_sim.kernels import build
from dist_sim.network.rules.rule import Ends, Rule, Sources, pool_sizes


@final
@dataclass(frozen=True)
class all_to_all(Rule):
    """Every source to every target. Weights and delays may be arrays (num_targets, num_sources), as in NEST."""

    name: ClassVar[str] = "all_to_all"

    def check(self, ends: Ends, where: str) -> None:
        del ends, where

    def mean_indegree(self, ends: Ends) -> float:
        return float(ends.num_pre)

    def shape(self, ends: Ends) -> tuple[int, ...]:
        return ends.num_post, ends.num_pre

    def sources(self, ends: Ends) -> Sources:
        degrees = pool_sizes(ends).astype(np.int64)
        return Sources(kind=build.ENUMERATE, degrees=degrees)

    def entry(self, ends: Ends) -> np.ndarray:
        """(num_synapses,) place of each synapse in a (num_targets, num_sources) array."""
        skipped = np.full(len(ends.local), build.NO_INDEX, dtype=np.uint32) if ends.autapses else ends.self_index()
        rows = [np.delete(np.arange(ends.num_pre), s) if s != build.NO_INDEX else np.arange(ends.num_pre) for s in skipped]
        return np.concatenate(
            [t * ends.num_pre + row for t, row in zip(ends.local, rows, strict=True)] or [np.zeros(0, np.int64)]
        )
