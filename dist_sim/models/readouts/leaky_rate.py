from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import HiddenState, Module, ParamState, environ
from dist_sim.models.communication.weights import Given, check_last, values_of
from dist_sim.models.dynamics import shape_of
from dist_sim.models.init import KaimingNormal
from dist_sim.models.parameter import Parameter


@final
class LeakyRateReadout(Module):
    r"""Weighted spikes, summed with a leak; exact at any step.

    .. math:: \tau \dot r = -r, \qquad r := r + x W \text{ at spikes } x

    A step first decays, then adds what arrives. The weights lie whole on every device, as those of `ds.nn.Linear`.

    Args:
        in_size, out_size: numbers of sources and outputs.
        tau: [time] > 0, one value or one per output; a State to change or train it later.
        w_init: weights (from, to): an initialiser, an array, or a State with one.
        name: of the Module.
    States: r (*out_size) or (batch, *out_size), weight (from, to) [both in the unit of the weights].
    Raises: UnitError, ParameterError: a wrong unit, size or shape.
    Source: Bellec et al. (2020), doi:10.1038/s41467-020-17236-y, eq. 13. Names and defaults are those of brainpy.state 0.1.
    """

    tau = Parameter(u.ms, positive=True)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        out_size: int | tuple[int, ...],
        tau: Any = 5.0 * u.ms,
        w_init: Given = KaimingNormal(),
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.in_size = shape_of(in_size, f"LeakyRateReadout(in_size={in_size!r})")
        self.out_size = self.varshape = shape_of(out_size, f"LeakyRateReadout(out_size={out_size!r})")
        self.tau = tau
        shape = self.in_size[0], self.out_size[0]
        self.weight = ParamState(values_of("LeakyRateReadout(w_init=...)", w_init, shape), axes=())

    def init_state(self, batch_size: int | None = None) -> None:
        lead = () if batch_size is None else shape_of(batch_size, f"LeakyRateReadout.init_state(batch_size={batch_size!r})")
        unit = u.get_unit(self.weight.value)
        self.r = HiddenState(u.maybe_decimal(u.Quantity(jnp.zeros((*lead, *self.out_size)), unit=unit)))

    def update(self, x: Any) -> Any:
        """One step. Returns r, of the shape (..., to); x is (..., from), spikes or numbers without unit."""
        check_last("LeakyRateReadout", x, self.in_size[0])
        decay = u.math.exp(-environ.get_dt() * (1.0 / self.tau))
        self.r.value = decay * self.r.value + u.math.matmul(x, self.weight.value)
        return self.r.value
