from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.network.rules.rule import Ends, Rule, Sources


@final
@dataclass(frozen=True)
class one_to_one(Rule):
    """The i-th source to the i-th target. Weights and delays may be arrays of that length. Autapses count as any other pair."""

    name: ClassVar[str] = "one_to_one"

    def check(self, ends: Ends, where: str) -> None:
        if ends.num_pre != ends.num_post:
            raise ConnectError(
                f"{where}: one_to_one needs sides of equal size; got {ends.num_pre} sources and {ends.num_post} targets."
            )

    def mean_indegree(self, ends: Ends) -> float:
        return 1.0

    def shape(self, ends: Ends) -> tuple[int, ...]:
        return (ends.num_post,)

    def sources(self, ends: Ends) -> Sources:
        return Sources(kind=build.LISTED, degrees=self._kept(ends).astype(np.int64), source_index=self.entry(ends))

    def entry(self, ends: Ends) -> np.ndarray:
        return ends.local[self._kept(ends)]

    def _kept(self, ends: Ends) -> np.ndarray:
        return np.full(len(ends.local), True) if ends.autapses else ends.pre_ids[ends.local] != ends.local_ids
