from __future__ import annotations

from typing import Any, final

import brainunit as units
import jax
import jax.numpy as jnp

from dist_sim.nest.synapses.declared import Parameter, Variable
from dist_sim.nest.synapses.release import Release

_NEAR = 0.1  # |x| below which (e^x - 1) / x is its series
_SERIES = 9  # terms that double precision needs there


@final
class TsodyksRelease(Release):
    r"""What `iaf_tum_2000` releases: u x of a weight, with u as it is after the jump.

    .. math:: \dot x = z/\tau_{rec} - u x \delta(t - t_f), \quad \dot y = -y/\tau_{psc} + u x \delta(t - t_f), \quad
        \dot u = -u/\tau_{fac} + U (1 - u) \delta(t - t_f), \quad z = 1 - x - y

    between spikes exactly, also where tau_psc is tau_rec. tau_fac = 0: u = U.

    Source: Tsodyks, Uziel & Markram (2000), doi:10.1523/JNEUROSCI.20-01-j0003.2000. Checked against NEST 3.10.
    """

    tau_psc = Parameter(units.ms, 2.0, above=0.0, decays=True)
    tau_fac = Parameter(units.ms, 1000.0, at_least=0.0, decays=True)
    tau_rec = Parameter(units.ms, 400.0, above=0.0, decays=True)
    U = Parameter(units.UNITLESS, 0.5, at_least=0.0, at_most=1.0)

    x = Variable(0.0, at_least=0.0, at_most=1.0)
    y = Variable(0.0, at_least=0.0, at_most=1.0)
    u = Variable(0.0, at_least=0.0, at_most=1.0)

    reads = ("tau_psc", "tau_fac", "tau_rec", "U", "x", "y", "u")

    @staticmethod
    def on_pre(s, p, e):
        Pyy, Pzz = e.decay.tau_psc, e.decay.tau_rec
        Pzy = _through(e.h, p.tau_psc, p.tau_rec, Pyy, Pzz)
        used = s.u * e.decay.tau_fac
        x = s.x + ((1.0 - Pyy - Pzy) * s.y + (1.0 - Pzz) * (1.0 - s.x - s.y))
        u = used + p.U * (1.0 - used)
        released = u * x
        return {"x": x - released, "y": s.y * Pyy + released, "u": u}, released * s.weight


def _through(h: Any, tau: Any, tau_next: Any, decay: Any, decay_next: Any) -> Any:
    """What of 1 that decays with tau, into what decays with tau_next, is there after h."""
    gap = tau_next - tau
    x = h * gap / (tau * tau_next)

    def near(h, gap, x):
        series = 1.0
        for k in range(_SERIES, 1, -1):
            series = 1.0 + series * x / k
        return h / tau * decay * series

    def far(h, gap, x):
        return (decay_next - decay) * tau_next / gap

    # Only what is near pays for the series.
    return jax.lax.cond(jnp.abs(x) < _NEAR, near, far, h, gap, x)
