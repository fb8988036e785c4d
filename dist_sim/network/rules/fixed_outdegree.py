from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.network.rules.rule import Ends, Rule, Sources, count, index_of


@final
@dataclass(frozen=True)
class fixed_outdegree(Rule):
    """Every source has `outdegree` targets, drawn uniformly; with replacement if multapses are allowed.

    The draw belongs to the source, so every device draws the targets of all sources and keeps its own: time grows with the
    whole connection, memory (4 bytes per synapse of the whole connection) while it is built.
    """

    name: ClassVar[str] = "fixed_outdegree"
    outdegree: int

    def check(self, ends: Ends, where: str) -> None:
        outdegree = count(self.outdegree, "outdegree", where)
        pool = ends.num_post - (not ends.autapses and np.isin(ends.pre_ids, ends.post_ids).any())
        if outdegree and pool < 1:
            raise ConnectError(f"{where}: a source has no possible target. Allow autapses or add targets.")
        if not ends.multapses and outdegree > pool:
            raise ConnectError(f"{where}: outdegree={outdegree} of only {pool} possible targets. Allow multapses or take fewer.")

    def mean_indegree(self, ends: Ends) -> float:
        return self.outdegree * ends.num_pre / max(1, ends.num_post)

    def sources(self, ends: Ends) -> Sources:
        n = ends.num_pre
        # The same draw as of an in-degree, with the sides exchanged.
        connection = build.Connection(
            source_kind=build.UNIFORM if ends.multapses else build.DISTINCT,
            stream=ends.stream,
            autapses=ends.autapses,
            pre_slot=np.arange(ends.num_post, dtype=np.uint32),
            target_id=ends.pre_ids.astype(np.uint32),
            target_slot=index_of(ends.pre_ids, ends.post_ids),
            target_index=np.zeros(n, dtype=np.uint32),
            channel_stride=np.zeros(n, dtype=np.int64),
            per_quantum=np.ones(n),
            offsets=np.arange(n + 1, dtype=np.int64) * self.outdegree,
            self_index=None if ends.autapses else index_of(ends.pre_ids, ends.post_ids),
            source_index=None,
            weight=build.Draw(kind=build.CONSTANT),
            delay=build.Draw(kind=build.CONSTANT),
        )
        drawn = build.draw_sources(connection, seed=ends.seed, backend=ends.backend, threads=ends.threads)
        place = np.full(ends.num_post, build.NO_INDEX, dtype=np.uint32)
        place[ends.local] = np.arange(len(ends.local), dtype=np.uint32)
        mine = np.flatnonzero(place[drawn] != build.NO_INDEX)
        order = np.argsort(place[drawn[mine]], kind="stable")
        degrees = np.bincount(place[drawn[mine]], minlength=len(ends.local))
        return Sources(kind=build.LISTED, degrees=degrees, source_index=(mine // max(1, self.outdegree))[order])
