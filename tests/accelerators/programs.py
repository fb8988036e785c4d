"""Small programs, exported for accelerators on a machine that has none: in plain JAX, as accelerators run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

import brainunit as u
import jax
import jax.export
import numpy as np

import dist_sim as ds
from dist_sim.core.transform import SharedJit
from dist_sim.run.loop import advance
from dist_sim.run.progress import Phases
from dist_sim.simulator.assembly import assemble

CELLS = 1000
_DT = 0.1 * u.ms
_DELAY = ds.dist.Normal(1.5 * u.ms, 0.75 * u.ms, min=0.1 * u.ms, max=6 * u.ms)


def _network(model: Any, weight: Any, synapse: Any = None, precision: int = 32, **options: Any) -> ds.Simulator:
    """Neurons of one model with Poisson input, and synapses with delays between them."""
    sim = ds.Simulator(dt=_DT, seed=1, backend="reference", precision=precision, **options)
    cells = sim.create(model, CELLS)
    noise = sim.create(ds.poisson_generator, rate=8000 * u.Hz)
    sim.connect(noise, cells, weight=weight, delay=1.5 * u.ms)
    more = {} if synapse is None else {"synapse": synapse}
    sim.connect(cells, cells, rule=ds.fixed_indegree(50), weight=weight, delay=_DELAY, **more)
    sim.connect(cells, sim.create(ds.spike_recorder))
    return sim


def _drawn() -> ds.Simulator:
    """Every generator whose numbers are drawn with quotients, roots and logarithms."""
    sim = _network(ds.iaf_psc_exp, 40 * u.pA)
    cells = sim.create(ds.iaf_psc_exp, CELLS)
    sim.connect(sim.create(ds.noise_generator, mean=300 * u.pA, std=300 * u.pA), cells)
    for source in (
        sim.create(ds.gamma_sup_generator, rate=60 * u.Hz, n_proc=150.0, gamma_shape=3.0),
        sim.create(ds.ppd_sup_generator, rate=60 * u.Hz, n_proc=120, dead_time=4.0 * u.ms),
        sim.create(ds.sinusoidal_poisson_generator, rate=6000 * u.Hz, amplitude=4000 * u.Hz, frequency=60 * u.Hz),
    ):
        sim.connect(source, cells, weight=20 * u.pA)
    return sim


SIMULATED = {
    "linear": lambda: _network(ds.iaf_psc_exp, 40 * u.pA),
    "linear_64": lambda: _network(ds.iaf_psc_exp, 40 * u.pA, precision=64),
    "adaptive": lambda: _network(ds.aeif_cond_exp, 1 * u.nS),
    "discrete": lambda: _network(ds.izhikevich, 1 * u.mV),
    "stdp": lambda: _network(ds.iaf_psc_exp, 40 * u.pA, ds.stdp_synapse()),
    "tsodyks2": lambda: _network(ds.iaf_psc_exp, 40 * u.pA, ds.tsodyks2_synapse()),
    "drawn": _drawn,
    "two_devices": lambda: _network(ds.iaf_psc_exp, 40 * u.pA, devices=2, exchange="mask"),
}


class EINet(ds.Module):
    """Excitatory and inhibitory neurons, connected at random through conductances."""

    def __init__(self) -> None:
        super().__init__()
        self.exc = CELLS * 4 // 5
        self.cells = ds.LIFRef(
            CELLS, R=1 * u.ohm, tau=20 * u.ms, tau_ref=5 * u.ms, V_rest=-60 * u.mV, V_th=-50 * u.mV, V_reset=-60 * u.mV,
            V_initializer=ds.init.Normal(-55.0, 2.0, unit=u.mV),
        )  # fmt: skip
        self.from_exc = self._projection(self.exc, 5 * u.ms, 0.6 * u.mS, 0 * u.mV)
        self.from_inh = self._projection(CELLS - self.exc, 10 * u.ms, 6.7 * u.mS, -80 * u.mV)

    def _projection(self, sources: int, tau: Any, weight: Any, E: Any) -> ds.AlignPostProj:
        return ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(sources, CELLS, 0.05, weight), syn=ds.Expon.desc(CELLS, tau=tau), out=ds.COBA.desc(E=E),
            post=self.cells,
        )  # fmt: skip

    def update(self, current: Any) -> Any:
        spikes = self.cells.get_spike()
        self.from_exc(spikes[: self.exc])
        self.from_inh(spikes[self.exc :])
        return self.cells(current)


def _modules(gradient: bool) -> ds.transform.Jit:
    ds.random.seed(1)
    net = ds.nn.init_all_states(EINet())

    def steps() -> Any:
        return ds.transform.for_loop(lambda _: net(20.0 * u.mA), np.arange(20)).sum()

    weights = net.states(ds.ParamState)
    return ds.transform.jit(ds.transform.grad(steps, weights) if gradient else steps)


MODULES = {"einet": False, "einet_gradient": True}
NAMES = [*SIMULATED, *MODULES]


def exported(name: str, platforms: Sequence[str]) -> jax.export.Exported:
    """The compiled loop of a network of the Simulator, as a function of the steps it begins and ends with; or 20 steps of
    Modules."""
    if name in SIMULATED:
        description = SIMULATED[name]()._description()
        with jax.enable_x64(description.precision == 64):
            network = assemble(description, Phases(show=False))
            return SharedJit(advance, network).exported(platforms, np.int32(0), np.int32(0))
    # Modules choose their kernels by the devices at hand, which are CPUs.
    with mock.patch("dist_sim.kernels.choose", lambda *_: "reference"), ds.use_mesh(), ds.environ.context(dt=_DT):
        return _modules(MODULES[name]).exported(platforms)
