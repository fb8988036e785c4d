from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.devices.device import CountGenerator
from dist_sim.nest.devices.rates import largest_counts, mean_per_step, poisson_counts
from dist_sim.nest.devices.settings import Number, Setting
from dist_sim.network.stimulus import Targets


@final
class mip_generator(CountGenerator):
    """Correlated Poisson trains between `start` and `stop` [ms] (after `origin`): of the spikes of one mother train of `rate`
    [Hz] per generator, every target gets each with probability `p_copy`.

    NEST sends the mother's spikes through its own event queue, so that its copies arrive one minimum delay of the network later
    than by the connection's delay; here they arrive after that delay. Source: Kuhn, Aertsen & Rotter (2003),
    doi:10.1162/089976603321043702. Checked against NEST 3.10: rate, Fano factor, correlation.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "rate": Number(unit="Hz", at_least=0.0),
        "p_copy": Number(default=1.0, at_least=0.0, at_most=1.0),
    }
    structure = ("resolution", "width")
    lead: ClassVar[int] = 1
    rate: np.ndarray
    p_copy: np.ndarray

    def check(self) -> None:
        self.most = largest_counts(self.rate * self.resolution * 1e-3, self.where("rate"))
        self.width = -(-int(self.most.max()) // 4) * 4  # words come in fours

    def numbers(self) -> Mapping[str, np.ndarray]:
        # A spike is copied where the upper 31 bits of its word are below this.
        copied = np.floor(self.p_copy * 2.0**31 + 0.5).astype(np.uint32)
        return {"rate": self.rate, "most": np.full(self.size, self.most.max()), "copied": copied}

    def counts(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        mother = to.of(poisson_counts(mean_per_step(p["rate"], self.resolution), p["most"], step, to, self.width, common=True))
        copied = to.of(p["copied"])
        first = jnp.arange(0, self.width, 4)[:, None]  # of the spikes that a draw of four words decides
        words = to.words(step, purpose=first // 4)
        kept = [(first + k < mother) & (word >> 1 < copied) for k, word in enumerate(words)]
        return jnp.stack(kept).sum(axis=(0, 1), dtype=jnp.int32)

    def largest(self) -> np.ndarray:
        return self.most
