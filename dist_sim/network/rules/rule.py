"""The contract of a connection rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dist_sim.errors import ConnectError
from dist_sim.kernels import build


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The two sides of a connection as one device sees them.

    Attributes:
        pre_ids, post_ids: (num_pre,), (num_post,) global ids.
        local: (num_local,) positions in post of the targets on this device, ascending.
        autapses, multapses: whether a neuron may connect to itself; whether a pair may be connected more than once.
        seed, stream: key of the connection's random numbers.
        backend, threads: for rules that draw more than their own targets' rows.
    """

    pre_ids: np.ndarray
    post_ids: np.ndarray
    local: np.ndarray
    autapses: bool
    multapses: bool
    seed: int
    stream: int
    backend: str = "reference"
    threads: int = 1

    @property
    def num_pre(self) -> int:
        return len(self.pre_ids)

    @property
    def num_post(self) -> int:
        return len(self.post_ids)

    @property
    def local_ids(self) -> np.ndarray:
        """Global ids of the targets on this device."""
        return self.post_ids[self.local]

    def self_index(self) -> np.ndarray:
        """(num_local,) uint32: index in pre of the target itself, `NO_INDEX` where it is not among them."""
        return index_of(self.local_ids, self.pre_ids)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """How the sources of this device's targets are found.

    Attributes:
        kind: of `kernels.build`: UNIFORM, DISTINCT, ENUMERATE or LISTED.
        degrees: (num_local,) synapses of each target.
        source_index: LISTED: (num_synapses,) index in pre, in order of (target, slot).
    """

    kind: int
    degrees: np.ndarray
    source_index: np.ndarray | None = None


class Rule(ABC):
    """Which neurons are connected. A rule is a description; `sources` says how one device draws its own targets' synapses.

    With autapses forbidden a target's own index is left out of its pool of sources; with multapses forbidden sources are drawn
    without replacement.
    """

    name: ClassVar[str]

    @abstractmethod
    def check(self, ends: Ends, where: str) -> None:
        """Raises `ConnectError` where the rule cannot be met."""

    @abstractmethod
    def mean_indegree(self, ends: Ends) -> float:
        """Expected number of synapses per target, over all targets."""

    @abstractmethod
    def sources(self, ends: Ends) -> Sources:
        """The draw of this device's targets."""

    def shape(self, ends: Ends) -> tuple[int, ...] | None:
        """Form of an array of weights or delays that this rule takes; None if it takes none."""
        del ends
        return None

    def entry(self, ends: Ends) -> np.ndarray:
        """(num_synapses,) place in such an array of each synapse of this device, in order of (target, slot)."""
        raise AssertionError(f"{self.name} takes no arrays, which `shape` says")


def index_of(ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(len(ids),) uint32: the place of each id in `among` (distinct ids), `NO_INDEX` where it is not."""
    if not len(among):
        return np.full(len(ids), build.NO_INDEX, dtype=np.uint32)
    order = np.argsort(among, kind="stable")
    at = np.minimum(np.searchsorted(among, ids, sorter=order), len(among) - 1)
    return np.where(among[order[at]] == ids, order[at], build.NO_INDEX).astype(np.uint32)


def pool_sizes(ends: Ends) -> np.ndarray:
    """(num_local,) sources that each target may have."""
    if ends.autapses:
        return np.full(len(ends.local), ends.num_pre)
    return ends.num_pre - (ends.self_index() != build.NO_INDEX)


def require_source(ends: Ends, where: str) -> None:
    """Refuses a pool without any source for some target."""
    if ends.num_pre == 0:
        raise ConnectError(f"{where}: there are no sources to draw from.")
    if ends.num_pre == 1 and not ends.autapses and np.isin(ends.pre_ids, ends.post_ids).any():
        raise ConnectError(f"{where}: a target has no possible source: the only one is itself. Allow autapses or add sources.")


def count(value: object, name: str, where: str) -> int:
    """A whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ConnectError(f"{where}: {name} must be a whole number of at least 0; got {value!r}.")
    return int(value)
