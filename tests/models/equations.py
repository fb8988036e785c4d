"""The equations of the neuron models in plain numpy, with the defaults of brainpy.state: ms, mV, and what goes with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import brainunit as u
import numpy as np
from scipy.integrate import solve_ivp

mS, mA, S = u.mS, u.mA, u.siemens


@dataclass(frozen=True)
class Equation:
    """A model as an initial value problem with events.

    Args:
        start: value and unit of each State, by its name; V first.
        slope: of the States, given them and the input.
        quiet, strong: inputs under which it stays below threshold, and spikes.
        order: of convergence in dt; None: exact.
        above: what crosses 0 upwards at a spike.
        reset: the States after a spike; None: no reset.
        tau_ref, free: how long States are held after a spike, and those that are not.
        given: arguments of the model other than its defaults.
    """

    start: dict[str, tuple[float, Any]]
    slope: Callable[..., Any]
    quiet: float
    strong: float
    order: int | None
    above: Callable[[np.ndarray], float]
    reset: Callable[[np.ndarray], Any] | None = None
    tau_ref: float = 0.0
    free: tuple[bool, ...] = ()
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """For the model: its parameters, and where its States start."""
        return self.given | {f"{name}_initializer": value * unit for name, (value, unit) in self.start.items()}

    def solve(self, drive: float, duration: float, dense: bool = False) -> Any:
        """The States at the end (all along: a function of time, for no spikes), and the times of spikes."""
        y, t, spikes = np.array([value for value, _ in self.start.values()]), 0.0, []

        def crossing(t: float, y: np.ndarray, *_: Any) -> float:
            return self.above(y)

        crossing.direction, crossing.terminal = 1.0, self.reset is not None

        def segment(slope: Any, y: np.ndarray, t: float, end: float, events: Any = None) -> Any:
            return solve_ivp(
                slope, (t, end), y, "DOP853", dense_output=dense, events=events, rtol=1e-11, atol=1e-12, max_step=1.0
            )

        while True:
            found = segment(lambda t, y: np.array(self.slope(y, drive)), y, t, duration, crossing)
            if self.reset is None or found.status != 1:
                times = [*spikes, *found.t_events[0]]
                return (found.sol if dense else found.y[:, -1]), np.array(times)
            t, y = found.t[-1], np.array(self.reset(found.y[:, -1]), dtype=float)
            spikes.append(t)
            held_until = min(t + self.tau_ref, duration)
            if self.tau_ref and held_until > t:
                moves = np.array(self.free or (False,) * len(y))
                y = segment(lambda t, y, moves=moves: np.where(moves, self.slope(y, drive), 0.0), y, t, held_until).y[:, -1]
                t = held_until
            if t >= duration:
                return y, np.array(spikes)


def above(threshold: float) -> Callable[[np.ndarray], float]:
    return lambda y: y[0] - threshold


def lif(y: Any, x: float) -> Any:
    return [(x - y[0]) / 5]


def exp_if(y: Any, x: float) -> Any:
    return [(-65 - y[0] + 3.48 * np.exp((y[0] + 59.9) / 3.48) + x) / 10]


def ad_ex_if(y: Any, x: float) -> Any:
    return [exp_if(y, x - y[1])[0], (y[0] + 65 - y[1]) / 30]


def qua_if(y: Any, x: float) -> Any:
    return [(0.07 * (y[0] + 65) * (y[0] + 50) + x) / 10]


def ad_qua_if(y: Any, x: float) -> Any:
    return [qua_if(y, x - y[1])[0], (y[0] + 65 - y[1]) / 10]


def gif(y: Any, x: float) -> Any:
    V, I1, I2, V_th = y
    return [(-70 - V + 20 * (I1 + I2 + x)) / 20, -0.2 * I1, -0.02 * I2, 0.005 * (V + 70) - 0.01 * (V_th + 50)]


def gif_reset(y: Any) -> Any:
    return [-70.0, 0.1 * y[1] + 0.05, y[2] - 0.02, max(-60.0, y[3])]


def izhikevich(y: Any, x: float) -> Any:
    V, r = y
    return [0.04 * V**2 + 5 * V + 140 - r + x, 0.02 * (0.2 * V - r)]


def linear_over_exp(x: float) -> float:
    """x / (1 - exp(-x))"""
    return 1.0 if x == 0 else x / -np.expm1(-x)


def hh(y: Any, x: float) -> Any:
    V, m, h, n = y
    rates = [
        (linear_over_exp((V + 40) / 10), 4 * np.exp(-(V + 65) / 18)),
        (0.07 * np.exp(-(V + 65) / 20), 1 / (1 + np.exp(-(V + 35) / 10))),
        (0.1 * linear_over_exp((V + 55) / 10), 0.125 * np.exp(-(V + 65) / 80)),
    ]
    gates = [alpha * (1 - gate) - beta * gate for (alpha, beta), gate in zip(rates, (m, h, n), strict=True)]
    return [x - 120 * m**3 * h * (V - 50) - 36 * n**4 * (V + 77) - 0.03 * (V + 54.387), *gates]


def wang_buzsaki(y: Any, x: float) -> Any:
    V, h, n = y
    alpha, beta = linear_over_exp((V + 35) / 10), 4 * np.exp(-(V + 60) / 18)
    m = alpha / (alpha + beta)
    return [
        x - 35 * m**3 * h * (V - 55) - 9 * n**4 * (V + 90) - 0.1 * (V + 65),
        5 * (0.07 * np.exp(-(V + 58) / 20) * (1 - h) - h / (1 + np.exp(-0.1 * (V + 28)))),
        5 * (0.1 * linear_over_exp((V + 34) / 10) * (1 - n) - 0.125 * np.exp(-(V + 44) / 80) * n),
    ]


def morris_lecar(y: Any, x: float) -> Any:
    V, W = y
    M, W_inf = 0.5 * (1 + np.tanh((V + 1.2) / 18)), 0.5 * (1 + np.tanh((V - 2) / 30))
    return [
        (x - 4.4 * M * (V - 130) - 8 * W * (V + 84) - 2 * (V + 60)) / 20,
        0.04 * np.cosh((V - 2) / 60) * (W_inf - W),
    ]


def fitzhugh_nagumo(y: Any, x: float) -> Any:
    V, w = y
    return [V - V**3 / 3 - w + x, (V + 0.7 - 0.8 * w) / 12.5]


def hindmarsh_rose(y: Any, x: float) -> Any:
    V, a, z = y
    return [a - V**3 + 3 * V**2 - z + x, 1 - 5 * V**2 - a, 0.006 * (4 * (V + 1.6) - z)]


_V = {"V": (0.2, u.mV)}
_REST = {"V": (-65.0, u.mV)}
_W = _REST | {"w": (0.5, mA)}
_GIF: dict[str, Any] = dict(
    start={"V": (-68.0, u.mV), "I1": (0.3, mA), "I2": (-0.1, mA), "V_th": (-48.0, u.mV)}, slope=gif, quiet=0.7, strong=2.0,
    order=1, above=lambda y: y[0] - y[3], reset=gif_reset,
    given=dict(a=0.005 / u.ms, R1=0.1, A1=0.05 * mA, A2=-0.02 * mA),
)  # fmt: skip
_IZHIKEVICH: dict[str, Any] = dict(
    start={"V": (-65.0, u.mV), "u": (-10.0, u.mV / u.ms)}, slope=izhikevich, quiet=2.0, strong=25.0, order=1, above=above(30.0),
    reset=lambda y: [-65.0, y[1] + 8],
)  # fmt: skip

EQUATIONS = {
    "IF": Equation(_V, lif, 0.9, 2.0, None, above(1.0), lambda y: [0.0]),
    "LIF": Equation(_V, lif, 0.9, 2.0, None, above(1.0), lambda y: [0.0]),
    "LIFRef": Equation(_V, lif, 0.9, 2.0, None, above(1.0), lambda y: [0.0], tau_ref=5.0),
    "ALIF": Equation(
        _V | {"a": (0.5, 1)}, lambda y, x: [lif(y, x)[0], -y[1] / 100], 0.9, 2.0, None, lambda y: y[0] - 1 - 0.1 * y[1],
        lambda y: [y[0] - 1, y[1] + 1],
    ),
    "ExpIF": Equation(_REST, exp_if, 1.0, 10.0, 2, above(-30.0), lambda y: [-68.0]),
    "ExpIFRef": Equation(_REST, exp_if, 1.0, 10.0, 2, above(-30.0), lambda y: [-68.0], tau_ref=1.7),
    "AdExIF": Equation(_W, ad_ex_if, 2.0, 15.0, 1, above(-55.0), lambda y: [-68.0, y[1] + 1]),
    "AdExIFRef": Equation(
        _W, ad_ex_if, 2.0, 15.0, 1, above(-55.0), lambda y: [-68.0, y[1] + 1], tau_ref=1.7, free=(False, True)
    ),
    "QuaIF": Equation(_REST, qua_if, 3.0, 20.0, 2, above(-30.0), lambda y: [-68.0]),
    "AdQuaIF": Equation(_W, ad_qua_if, 3.0, 25.0, 1, above(-30.0), lambda y: [-68.0, y[1] + 0.1]),
    "AdQuaIFRef": Equation(_W, ad_qua_if, 3.0, 25.0, 1, above(-30.0), lambda y: [-68.0, y[1] + 0.1], tau_ref=1.7),
    "Gif": Equation(**_GIF),
    "GifRef": Equation(**_GIF, tau_ref=1.7),
    "CubaLIF": Equation(
        _V | {"g": (0.5, mA)}, lambda y, x: [lif(y, x + y[1])[0], -y[1] / 5], 0.5, 2.0, 1, above(1.0), lambda y: [0.0, y[1]]
    ),
    "CobaLIF": Equation(
        _V | {"g": (0.5, S)}, lambda y, x: [lif(y, x + y[1] * (1.5 - y[0]))[0], -y[1] / 5], 0.5, 2.0, 1, above(1.0),
        lambda y: [0.0, y[1]], given=dict(E=1.5 * u.mV),
    ),
    "Izhikevich": Equation(**_IZHIKEVICH),
    "IzhikevichRef": Equation(**_IZHIKEVICH, tau_ref=2.0, given=dict(tau_ref=2.0 * u.ms)),
    "HH": Equation({"V": (-65.0, u.mV), "m": (0.05, 1), "h": (0.6, 1), "n": (0.32, 1)}, hh, 2.0, 20.0, 1, above(20.0)),
    "MorrisLecar": Equation({"V": (-60.0, u.mV), "W": (0.02, 1)}, morris_lecar, 40.0, 300.0, 1, above(10.0)),
    "WangBuzsakiHH": Equation({"V": (-65.0, u.mV), "h": (0.6, 1), "n": (0.32, 1)}, wang_buzsaki, 0.1, 5.0, 1, above(20.0)),
    "FitzHughNagumo": Equation({"V": (-1.2, 1), "w": (-0.62, 1)}, fitzhugh_nagumo, 0.1, 0.8, 1, above(1.0)),
    "HindmarshRose": Equation({"V": (-1.6, 1), "y": (-10.0, 1), "z": (0.0, 1)}, hindmarsh_rose, 0.5, 4.0, 1, above(1.0)),
}  # fmt: skip
