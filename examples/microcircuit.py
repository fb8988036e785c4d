"""The cortical microcircuit: four layers under 1 mm2 of sensory cortex, at full scale 77,169 neurons and 298.9 million synapses.

    dist-sim run examples/microcircuit.py --devices 2
    dist-sim run examples/microcircuit.py --set scale=1 --set drive=dc --set t_sim=10000 --set t_presim=500
    python examples/microcircuit.py

Below scale 1 every neuron keeps `scale` of its synapses. Weights then grow by 1/sqrt(scale), and a constant current makes up for
the mean input that is lost, so that mean and variance of the input stay those of the full circuit.

Source: Potjans & Diesmann (2014), doi:10.1093/cercor/bhs358; numbers and scaling as in INM-6/microcircuit-PD14-model,
PyNEST/src/microcircuit, commit fd40046.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import brainunit as u
import numpy as np

import dist_sim as ds
from dist_sim.errors import ParameterError
from dist_sim.io.report import raster_and_rates
from dist_sim.run.session import current_session

POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
SIZES = np.array([20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948])
PROBABILITIES = np.array(  # of at least one synapse between two neurons, [target, source]
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0000, 0.0076, 0.0000],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0000, 0.0042, 0.0000],
        [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0000],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0000, 0.1057, 0.0000],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0000],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0000],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
    ]
)
EXTERNAL_INDEGREES = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])
EXTERNAL_RATE = 8.0  # Hz, of each external synapse
MEAN_RATES = np.array([0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829])  # Hz, of the full circuit
V0 = {  # mean and standard deviation of the initial membrane potentials, mV
    "optimized": (
        np.array([-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43]),
        np.array([5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48]),
    ),
    "random": (np.full(8, -58.0), np.full(8, 10.0)),
}
TAU_M, TAU_SYN, C_M = 10.0, 0.5, 250.0  # ms, ms, pF
PSP, G = 0.15, -4.0  # mV, of an excitatory synapse; inhibitory over excitatory weight
DELAYS = np.tile([1.5, 0.75], 4)  # ms, by source
WEIGHT_CV, DELAY_CV = 0.1, 0.5  # standard deviation over mean
DT = 0.1  # ms


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """A scaled circuit: neurons (8,); synapses (8, 8) and their mean weights [pA], [target, source]; constant current [pA] and
    Poisson rate [Hz] into each neuron, (8,); weight [pA] of the external synapses."""

    sizes: np.ndarray
    synapses: np.ndarray
    weights: np.ndarray
    dc: np.ndarray
    poisson_rate: np.ndarray
    external_weight: float


def scaled_circuit(scale: float, drive: str) -> Circuit:
    """The circuit with `scale` times the neurons and `scale` times the synapses of each; `drive` is 'poisson' or 'dc'."""
    if drive not in ("poisson", "dc") or not 0 < scale <= 1:
        raise ParameterError(f"microcircuit(scale={scale}, drive={drive!r}): the scale is in (0, 1], the drive is poisson or dc.")
    # The amplitude of an exponential current whose PSP peaks at PSP.
    peak = (TAU_M / TAU_SYN) ** (1 / (TAU_SYN - TAU_M))
    amplitude = PSP * C_M * (TAU_SYN - TAU_M) / (TAU_M * TAU_SYN * (peak**TAU_M - peak**TAU_SYN))
    weights = amplitude * np.tile([1.0, G], (8, 4))
    weights[0, 2] *= 2  # L4E -> L23E
    synapses = np.log(1 - PROBABILITIES) / np.log(1 - 1 / np.outer(SIZES, SIZES))
    # Mean currents: a train of 1 Hz with an amplitude of 1 pA carries TAU_SYN / 1 s of it.
    external = TAU_SYN * 1e-3 * amplitude * EXTERNAL_INDEGREES * EXTERNAL_RATE
    recurrent = TAU_SYN * 1e-3 * (weights * synapses / SIZES[:, None] * MEAN_RATES).sum(axis=1)
    lost = 1 - np.sqrt(scale)
    return Circuit(
        sizes=np.rint(SIZES * scale).astype(int),
        synapses=np.rint(synapses * scale**2).astype(int),
        weights=weights / np.sqrt(scale),
        dc=lost * (recurrent + external) if drive == "poisson" else lost * recurrent + external,
        poisson_rate=np.rint(EXTERNAL_INDEGREES * scale) * EXTERNAL_RATE * (drive == "poisson"),
        external_weight=amplitude / np.sqrt(scale),
    )


def build(sim: ds.Simulator, circuit: Circuit, v0: str) -> tuple[list[ds.NodeView], ds.NodeView]:
    """Creates and connects the circuit; returns its populations and the recorder of all spikes."""
    if v0 not in V0:
        raise ParameterError(f"microcircuit(v0={v0!r}): known are {', '.join(V0)}.")
    neuron = dict(
        C_m=C_M * u.pF, tau_m=TAU_M * u.ms, tau_syn_ex=TAU_SYN * u.ms, tau_syn_in=TAU_SYN * u.ms, t_ref=2 * u.ms,
        E_L=-65 * u.mV, V_reset=-65 * u.mV, V_th=-50 * u.mV,
    )  # fmt: skip
    recorder, populations = sim.create(ds.spike_recorder), []
    for name, size, mean, std, dc in zip(POPULATIONS, circuit.sizes, *V0[v0], circuit.dc, strict=True):
        V_m = ds.dist.Normal(mean * u.mV, std * u.mV)
        populations.append(sim.create(ds.iaf_psc_exp, size, name=name, params=neuron, V_m=V_m, I_e=dc * u.pA))
    for (target, source), number in np.ndenumerate(circuit.synapses):
        weight, delay = circuit.weights[target, source] * u.pA, DELAYS[source] * u.ms
        bound = dict(min=0 * u.pA) if weight > 0 * u.pA else dict(max=0 * u.pA)
        sim.connect(
            populations[source], populations[target], rule=ds.fixed_total_number(number),
            weight=ds.dist.Normal(weight, abs(weight) * WEIGHT_CV, **bound),
            delay=ds.dist.Normal(delay, delay * DELAY_CV, min=DT / 2 * u.ms),
        )  # fmt: skip
    for population, rate in zip(populations, circuit.poisson_rate, strict=True):
        if rate:
            noise = sim.create(ds.poisson_generator, rate=rate * u.Hz)
            sim.connect(noise, population, weight=circuit.external_weight * u.pA, delay=1.5 * u.ms)
        sim.connect(population, recorder)
    return populations, recorder


def main() -> None:
    circuit = scaled_circuit(ds.param("scale", 0.1), ds.param("drive", "poisson"))
    t_presim, t_sim = ds.param("t_presim", 0.0), ds.param("t_sim", 1000.0)  # ms
    if t_presim < 0 or t_sim <= 0:
        raise ParameterError(f"microcircuit(t_presim={t_presim}, t_sim={t_sim}): at least 0 ms, and above 0 ms.")
    placement, exchange = ds.param("placement", "block"), ds.param("exchange", "") or None  # they change no spike; None chooses
    sim = ds.Simulator(dt=DT * u.ms, seed=ds.param("seed", 1), placement=placement, exchange=exchange)
    populations, recorder = build(sim, circuit, ds.param("v0", "optimized"))
    if t_presim > 0:
        sim.simulate(t_presim * u.ms)
    times, senders = sim.cont(t_sim * u.ms).events(recorder)
    steps = np.rint(times.to_decimal(u.ms) / DT).astype(np.int64) - 1  # a spike has the time of the end of its step
    ids = senders[steps * DT >= t_presim - DT / 2]
    rates = {p.name: np.isin(ids, p.ids).sum() / (len(p) * t_sim * 1e-3) for p in populations}
    print("rates in Hz (published, full scale):")
    print("  ".join(f"{name} {rates[name]:.2f} ({full:.2f})" for name, full in zip(POPULATIONS, MEAN_RATES, strict=True)))
    if current_session() is None and find_spec("matplotlib"):  # `dist-sim run` draws the same picture by itself
        spans = [(p.name, int(p.ids[0]), len(p)) for p in populations]
        raster_and_rates(Path("microcircuit.png"), steps, senders, DT, spans, rates, min(t_sim, 1000.0), end_ms=t_presim + t_sim)


if __name__ == "__main__":
    main()
