"""One generator on neurons that add up what they get, in NEST and in dist_sim."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import brainunit as u
import numpy as np

import dist_sim as ds
from dist_sim.nest.devices import CurrentGenerator

UNITS = {
    **dict.fromkeys(("start", "stop", "origin", "dt", "dead_time", "sdev"), u.ms),
    **dict.fromkeys(("amplitude_times", "rate_times", "spike_times", "pulse_times"), u.ms),
    **dict.fromkeys(("rate", "frequency", "rate_values"), u.Hz),
    **dict.fromkeys(("amplitude_values", "mean", "std", "std_mod", "offset"), u.pA),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A generator: `params` under NEST's names, in ms, Hz and pA; `duration`, `delay`, `dt` in ms."""

    model: str
    params: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    delay: float = 1.0
    targets: int = 1
    duration: float = 20.0
    dt: float = 0.1
    seed: int = 1
    tau_m: float = 1e4

    def received(self, V: np.ndarray) -> np.ndarray:
        """What V (steps, targets) of neurons of 1 pF has got in each step: mV of spikes, or pA for the length of a step."""
        before = np.concatenate([np.zeros_like(V[:1]), V[:-1]])
        return V - before * np.exp(-self.dt / self.tau_m)


def in_nest(cases: Mapping[str, Case]) -> dict[str, np.ndarray]:
    """(steps, targets) of each case: what arrives at the end of each step, or the charge of a current in it [pA ms]."""
    script = Path(__file__).with_name("nest_devices.py")
    with tempfile.TemporaryDirectory() as folder:
        asked, given = Path(folder) / "cases.json", Path(folder) / "out.npz"
        asked.write_text(json.dumps({name: asdict(case) for name, case in cases.items()}))
        done = subprocess.run([sys.executable, str(script), str(asked), str(given)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"NEST ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        with np.load(given) as out:
            return {name: cases[name].received(out[name]) for name in out.files}


def with_units(model: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as `create` takes them."""
    units = UNITS | {"amplitude": u.Hz if "poisson" in model else u.pA}
    return {name: np.asarray(value) * units[name] if name in units else value for name, value in params.items()}


def in_dist_sim(case: Case, **options: Any) -> np.ndarray:
    """The same of one case."""
    sim = ds.Simulator(dt=case.dt * u.ms, **({"seed": case.seed, "precision": 64} | options))
    at_rest = dict(C_m=1 * u.pF, tau_m=case.tau_m * u.ms, V_th=1e15 * u.mV, E_L=0 * u.mV, V_m=0 * u.mV, V_reset=-1 * u.mV)
    cells = sim.create(ds.iaf_psc_delta, case.targets, params=at_rest | dict(t_ref=0.1 * u.ms))
    generator = sim.create(case.model, params=with_units(case.model, case.params))
    meter = sim.create(ds.voltmeter, interval=case.dt * u.ms)
    current = issubclass(generator.node.model, CurrentGenerator)
    sim.connect(generator, cells, weight=case.weight if current else case.weight * u.mV, delay=case.delay * u.ms)
    sim.connect(meter, cells)
    return case.received(np.asarray(sim.simulate(case.duration * u.ms).trace(meter).to_decimal(u.mV)))
