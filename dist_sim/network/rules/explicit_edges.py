from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np

from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.network.rules.rule import Ends, Rule, Sources


@final
class explicit_edges(Rule):
    """The synapses given: source `pre[k]` to target `post[k]`, both counted within their populations from 0.

    Weights and delays may be arrays of that length. Autapses and multapses are what the lists say.
    """

    name: ClassVar[str] = "explicit_edges"

    def __init__(self, pre: Any, post: Any):
        self.pre, self.post = (np.asarray(side).reshape(-1) if np.size(side) else np.zeros(0, np.int64) for side in (pre, post))

    def check(self, ends: Ends, where: str) -> None:
        if len(self.pre) != len(self.post):
            raise ConnectError(f"{where}: explicit_edges needs lists of equal length; got {len(self.pre)} and {len(self.post)}.")
        for side, name, size in ((self.pre, "pre", ends.num_pre), (self.post, "post", ends.num_post)):
            if len(side) and not np.issubdtype(side.dtype, np.integer):
                raise ConnectError(f"{where}: explicit_edges({name}=...) must be whole numbers; got {side.dtype}.")
            if len(side) and (side.min() < 0 or side.max() >= size):
                found = side.min() if side.min() < 0 else side.max()
                raise ConnectError(f"{where}: explicit_edges({name}=...) holds {found}; allowed are 0 to {size - 1}.")

    def mean_indegree(self, ends: Ends) -> float:
        # The largest in-degree, because a list may be as uneven as it likes.
        return float(np.bincount(self.post, minlength=1).max()) if len(self.post) else 0.0

    def shape(self, ends: Ends) -> tuple[int, ...]:
        return (len(self.pre),)

    def sources(self, ends: Ends) -> Sources:
        order = self.entry(ends)
        degrees = np.bincount(self.post[order], minlength=ends.num_post)[ends.local]
        return Sources(kind=build.LISTED, degrees=degrees, source_index=self.pre[order])

    def entry(self, ends: Ends) -> np.ndarray:
        mine = np.zeros(ends.num_post, dtype=bool)
        mine[ends.local] = True
        edges = np.flatnonzero(mine[self.post])
        return edges[np.argsort(self.post[edges], kind="stable")]
