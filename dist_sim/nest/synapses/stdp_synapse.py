from __future__ import annotations

from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ParameterError, UnitError, UnknownNameError
from dist_sim.kernels import build
from dist_sim.nest.synapses.synapse import Synapse
from dist_sim.network.distributions import Distribution, bounds
from dist_sim.network.plasticity import Stdp

_PARAMETERS = ("weight", "delay", "tau_plus", "lambda", "alpha", "mu_plus", "mu_minus", "Wmax", "Kplus", "weight_recorder")


@final
class stdp_synapse(Synapse):
    r"""Pair-based spike-timing dependent plasticity, every pair of spikes counting, with powers of the weight.

    With x = w / Wmax, each postsynaptic spike, a delay later, and each presynaptic spike change

    .. math:: x \to \min(1, x + \lambda (1 - x)^{\mu_+} K_+), \qquad
        x \to \max(0, x - \alpha \lambda x^{\mu_-} K_-)

    where the traces K grow by 1 with a spike of their neuron and decay with tau_plus and tau_minus. mu = 0: additive, 1:
    multiplicative. tau_minus is a parameter of the target. The whole delay is dendritic, as in NEST. A weight read after a
    simulation holds the presynaptic spikes that have arrived, and the postsynaptic ones up to the last of them at least.

    Args:
        weight: initial, of the sign of Wmax and at most as large; delay: both as of `connect`.
        tau_plus: [time] > 0, 20 ms.
        lambda_: step of the weight, 0.01; NEST's name `lambda` is taken too, from a mapping: `stdp_synapse(**{"lambda": 0.01})`.
        alpha: asymmetry, 1.
        mu_plus, mu_minus: exponents, at least 0; 1.
        Wmax: [unit of the target's input], not 0; 100 of the unit.
        Kplus: initial presynaptic trace, at least 0; 0.
        weight_recorder: records each spike that they pass on, with the weight.

    Raises:
        UnknownNameError: another parameter. UnitError, ParameterError: a value that does not fit.
    Source: Guetig et al. (2003), doi:10.1523/JNEUROSCI.23-09-03697.2003; Morrison, Diesmann & Gerstner (2008),
    doi:10.1007/s00422-008-0233-1. Names, defaults and order of operations are NEST's. Checked against NEST 3.10.
    """

    def __init__(
        self,
        *,
        weight: Any = None,
        delay: Any = None,
        tau_plus: Any = None,
        lambda_: Any = None,
        alpha: Any = 1.0,
        mu_plus: Any = 1.0,
        mu_minus: Any = 1.0,
        Wmax: Any = None,
        Kplus: Any = 0.0,
        weight_recorder: Any = None,
        **by_name: Any,
    ) -> None:
        for name in by_name:
            if name == "tau_minus":
                raise ParameterError(
                    "stdp_synapse(tau_minus=...): a parameter of the target neurons, as in NEST: "
                    "create(model, n, params=dict(tau_minus=20 * u.ms))."
                )
            if name != "lambda":
                raise UnknownNameError("parameter", name, _PARAMETERS, where="stdp_synapse")
        if lambda_ is not None and by_name:
            raise ParameterError("stdp_synapse: lambda is given twice, as lambda_ and as lambda.")
        lambda_ = by_name.get("lambda", 0.01 if lambda_ is None else lambda_)
        self.weight, self.delay, self.weight_recorder, self._Wmax = weight, delay, weight_recorder, Wmax
        tau = 20.0 * u.ms if tau_plus is None else tau_plus
        where = f"stdp_synapse(tau_plus={tau})"
        self.tau_plus = _one(units.magnitude(tau, "ms", where), where)
        if not 0 < self.tau_plus < np.inf:
            raise ParameterError(f"{where}: must be above 0 ms.")
        self.lambda_, self.alpha = _number("lambda", lambda_), _number("alpha", alpha)
        self.mu_plus, self.mu_minus, self.Kplus = (
            _number(name, value, least=0.0) for name, value in (("mu_plus", mu_plus), ("mu_minus", mu_minus), ("Kplus", Kplus))
        )

    def plasticity(self, weight: build.Draw, unit: str, where: str) -> Stdp:
        given = units.quantity(100.0, unit) if self._Wmax is None else self._Wmax
        name = f"{where}: stdp_synapse(Wmax={given})"
        Wmax = _one(units.magnitude(given, unit, name), name)
        if Wmax == 0 or not np.isfinite(Wmax):
            raise ParameterError(f"{name}: must be a finite weight, and not 0.")
        low, high = bounds(weight)
        wide = "" if weight.kind in (build.CONSTANT, build.ARRAY) else " Give the distribution a min and a max."
        if (low < 0) != (Wmax < 0) or (high < 0) != (Wmax < 0):
            found = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            raise ParameterError(f"{name}: weight and Wmax must have the same sign; the weights are {found} {unit}.{wide}")
        if max(abs(low), abs(high)) > abs(Wmax):
            raise ParameterError(
                f"{name}: no weight may be beyond Wmax; the largest is {max(low, high, key=abs):g} {unit}. Raise Wmax.{wide}"
            )
        return Stdp(
            tau_plus=self.tau_plus, lambda_=self.lambda_, alpha=self.alpha, mu_plus=self.mu_plus, mu_minus=self.mu_minus,
            Wmax=Wmax, Kplus=self.Kplus,
        )  # fmt: skip


def _one(bare: np.ndarray, where: str) -> float:
    if np.ndim(bare):
        raise ParameterError(f"{where}: one value for the whole connection is needed; got {np.size(bare)}.")
    return float(bare)


def _number(name: str, value: Any, least: float = -np.inf) -> float:
    where = f"stdp_synapse({name}={value})"
    if isinstance(value, u.Quantity | Distribution):
        raise UnitError(f"{where}: one number without unit is needed.")
    try:
        number = _one(np.asarray(value, dtype=np.float64), where)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{where}: one number is needed.") from error
    if not np.isfinite(number) or number < least:
        raise ParameterError(f"{where}: must be {'finite' if least == -np.inf else f'at least {least:g}'}.")
    return number
