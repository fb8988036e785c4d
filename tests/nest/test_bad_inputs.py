"""Law 7: bad input is refused when it is given: what, where, what is allowed; and nothing is left behind.

Each case is one bad input to a sound script: the error, and words that its message must hold.

Over 400 lines: a table with a line for each kind of bad input.
"""

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ConnectError, DeviceError, DistSimError, ParameterError, UnitError, UnknownNameError
from dist_sim.run.loop import ChunkedLoop

BUILTIN = {
    ConnectError: ValueError,
    ParameterError: ValueError,
    UnitError: TypeError,
    UnknownNameError: LookupError,
    DeviceError: RuntimeError,
}


def connect(error, words, *, pre="exc", post="exc", **options):
    return error, ["connect(exc, exc)", *words], lambda sim, nodes: sim.connect(nodes[pre], nodes[post], **options)


def turned(words, pre, post):
    return ConnectError, [f"connect({pre}, {post})", *words], lambda sim, nodes: sim.connect(nodes[pre], nodes[post])


def neuron(error, words, size=3, /, **params):
    return error, ["iaf_psc_exp", *words], lambda sim, nodes: sim.create(ds.iaf_psc_exp, size, params=params)


def device(error, words, model, size=1, /, **params):
    return error, [model.__name__, *words], lambda sim, nodes: sim.create(model, size, params=params)


def simulator(error, words, **options):
    return error, words, lambda sim, nodes: ds.Simulator(**options)


def simulate(error, words, duration):
    return error, ["simulate", *words], lambda sim, nodes: sim.simulate(duration)


def call(error, words, function):
    return error, words, function


def normal(*values, unit=u.pA, **limits):
    return ds.dist.Normal(*(v * unit for v in values), **{name: v * unit for name, v in limits.items()})


def two_states(pre, post):
    def connect_them(sim, n):
        made = {name: n[name] if name in n else sim.create(getattr(ds, name), 2) for name in (pre, post)}
        sim.connect(made[pre], made[post])

    return call(ConnectError, ["has two states", "parrot_neuron"], connect_them)


CASES = {
    # weights
    "weight without unit": connect(UnitError, ["weight", "a current (pA)", "10.0 without unit", "10.0 * u.pA"], weight=10.0),
    "weight in mV": connect(UnitError, ["weight", "a current (pA)", "10 mV"], weight=10 * u.mV),
    "weight in pA for iaf_psc_delta": call(
        UnitError,
        ["connect(exc, jump)", "weight", "a voltage (mV)"],
        lambda sim, n: sim.connect(n["exc"], n["jump"], weight=1 * u.pA),
    ),
    "weight NaN": connect(ParameterError, ["weight", "NaN", "pA"], weight=np.nan * u.pA),
    "weight infinite": connect(ParameterError, ["weight", "infinite", "pA"], weight=np.inf * u.pA),
    "weights too few": connect(
        ConnectError, ["weight", "(9,)", "one_to_one", "(10,)"], rule=ds.one_to_one, weight=np.ones(9) * u.pA
    ),
    "weights turned": call(
        ConnectError,
        ["weight", "(4, 10)", "(10, 4)", "rows"],
        lambda sim, n: sim.connect(n["exc"][:4], n["exc"], weight=np.ones((4, 10)) * u.pA),
    ),
    "weights without an order": connect(
        ConnectError, ["weight", "fixed_total_number", "ds.dist.Normal"], rule=ds.fixed_total_number(5), weight=np.ones(5) * u.pA
    ),
    "distribution without unit": connect(UnitError, ["weight", "mean", "1 without unit"], weight=ds.dist.Normal(1, 1)),
    "distribution in mV": connect(UnitError, ["weight", "std", "(pA)", "mV"], weight=ds.dist.Normal(1 * u.pA, 1 * u.mV)),
    "std below 0": connect(ParameterError, ["weight", "std", "at least 0", "-1"], weight=normal(1, -1)),
    "limits crossed": connect(ParameterError, ["weight", "min=2", "max=1"], weight=normal(1, 1, min=2, max=1)),
    "limits never met": connect(ParameterError, ["weight", "[50, inf]"], weight=normal(1, 1, min=50)),
    "lognormal mean 0": connect(ParameterError, ["weight", "mean=0", "positive"], weight=ds.dist.LogNormal(0 * u.pA, 1 * u.pA)),
    "uniform turned": connect(ParameterError, ["weight", "low=2", "high=1"], weight=ds.dist.Uniform(2 * u.pA, 1 * u.pA)),
    # delays
    "delay without unit": connect(UnitError, ["delay", "a time (ms)", "1.5 without unit", "1.5 * u.ms"], delay=1.5),
    "delay 0": connect(ConnectError, ["delay", "0 ms", "dt=0.1 ms", "at least 0.1 ms"], delay=0 * u.ms),
    "delay below 0": connect(ConnectError, ["delay", "-1 ms", "at least 0.1 ms"], delay=-1 * u.ms),
    "delay 0.04": connect(ConnectError, ["delay", "0.04 ms", "dt=0.1 ms"], delay=0.04 * u.ms),
    "delay NaN": connect(ParameterError, ["delay", "NaN"], delay=np.nan * u.ms),
    "delay infinite": connect(ParameterError, ["delay", "infinite"], delay=np.inf * u.ms),
    "delay 1e7 ms": connect(ConnectError, ["delay", "100,000,000 steps", "1,000,000"], delay=1e7 * u.ms),
    "delays that reach 0": connect(ConnectError, ["delay", "dt=0.1 ms", "min=0.05 ms"], delay=normal(1, 1, unit=u.ms)),
    "one delay 0 of many": connect(ConnectError, ["delay", "0 ms"], rule=ds.one_to_one, delay=np.arange(10) * u.ms),
    # rules
    "indegree 11 of 10": connect(ConnectError, ["indegree=11", "10 possible"], rule=ds.fixed_indegree(11), allow_multapses=False),
    "outdegree 10 of 9": connect(
        ConnectError, ["outdegree=10", "9 possible"], rule=ds.fixed_outdegree(10), allow_multapses=False, allow_autapses=False
    ),
    "indegree 2.5": connect(ConnectError, ["indegree", "whole number", "2.5"], rule=ds.fixed_indegree(2.5)),
    "indegree -1": connect(ConnectError, ["indegree", "at least 0", "-1"], rule=ds.fixed_indegree(-1)),
    "indegree missing": connect(ConnectError, ["fixed_indegree", "indegree", "missing"], rule="fixed_indegree"),
    "N below 0": connect(ConnectError, ["N must", "at least 0", "-3"], rule=ds.fixed_total_number(-3)),
    "p 1.5": connect(ConnectError, ["p must", "[0, 1]", "1.5", "percent"], rule=ds.pairwise_bernoulli(1.5)),
    "p NaN": connect(ConnectError, ["p must", "[0, 1]", "nan"], rule=ds.pairwise_bernoulli(np.nan)),
    "mean below 0": connect(ConnectError, ["pairwise_avg_num_conns", "at least 0", "-1"], rule=ds.pairwise_poisson(-1.0)),
    "one_to_one 10 to 7": call(
        ConnectError,
        ["one_to_one", "10 sources", "7 targets"],
        lambda sim, n: sim.connect(n["exc"], n["exc"][:7], rule="one_to_one"),
    ),
    "edges of unequal length": connect(ConnectError, ["explicit_edges", "2 and 1"], rule=ds.explicit_edges([0, 1], [1])),
    "edges out of range": connect(ConnectError, ["pre", "10", "0 to 9"], rule=ds.explicit_edges([0, 10], [1, 2])),
    "edges of fractions": connect(ConnectError, ["pre", "whole numbers", "float64"], rule=ds.explicit_edges([0.5], [1])),
    "no source but itself": call(
        ConnectError,
        ["the only one is itself", "autapses"],
        lambda sim, n: sim.connect(n["exc"][:1], n["exc"][:1], rule=ds.fixed_indegree(1), allow_autapses=False),
    ),
    "no source": call(
        ConnectError, ["no sources"], lambda sim, n: sim.connect(n["exc"][:0], n["exc"], rule=ds.fixed_indegree(1))
    ),
    "unknown rule": connect(UnknownNameError, ["rule 'fixed_indegre'", "'fixed_indegree'?", "all_to_all"], rule="fixed_indegre"),
    "rule of another kind": connect(ConnectError, ["rule=5", "fixed_indegree"], rule=5),
    "misspelt weigth": connect(UnknownNameError, ["'weigth'", "'weight'?"], weigth=1 * u.pA),
    "misspelt weigth beside a rule": connect(
        UnknownNameError, ["'weigth'", "'weight'?"], rule=ds.fixed_indegree(1), weigth=1 * u.pA
    ),
    "misspelt indegre": connect(UnknownNameError, ["'indegre'", "'indegree'?"], rule="fixed_indegree", indegre=1),
    "unknown synapse": connect(UnknownNameError, ["'statik_synapse'", "'static_synapse'?"], synapse="statik_synapse"),
    "receptor out of range": connect(ConnectError, ["receptor_type=7", "receptor 0"], receptor_type=7),
    # who connects to whom
    "recorder to neurons": turned(["spike_recorder receives", "connect(exc, rec)"], "rec", "exc"),
    "neurons to voltmeter": turned(["meter", "connect(volt, exc)"], "exc", "volt"),
    "neurons to generator": turned(["poisson_generator sends", "connect(noise, exc)"], "exc", "noise"),
    "neurons to spike_generator": turned(["spike_generator sends", "connect(clock, exc)"], "exc", "clock"),
    "neurons to current": turned(["dc_generator sends", "connect(dc, exc)"], "exc", "dc"),
    "voltmeter to recorder": turned(["voltmeter", "no spikes"], "volt", "rec"),
    "voltmeter to generator": turned(["poisson_generator sends", "neurons"], "volt", "noise"),
    "generator to recorder": turned(["poisson_generator", "train of its own"], "noise", "rec"),
    "recorder to recorder": turned(["spike_recorder receives", "neurons"], "rec", "rec"),
    "name instead of nodes": call(ConnectError, ["pre=str", "`create`"], lambda sim, n: sim.connect("exc", n["exc"])),
    "nodes of another simulator": call(
        ConnectError, ["another Simulator"], lambda sim, n: sim.connect(n["exc"], ds.Simulator().create(ds.iaf_psc_exp, 5))
    ),
    "targets of two models": call(
        ConnectError,
        ["one model", "iaf_psc_delta, iaf_psc_exp", "mV and in pA"],
        lambda sim, n: sim.connect(n["exc"], n["exc"] + n["jump"], weight=1 * u.pA),
    ),
    "current to a neuron that takes none": call(
        ConnectError, ["iaf_chs_2007 takes no currents"], lambda sim, n: sim.connect(n["dc"], sim.create(ds.iaf_chs_2007, 2))
    ),
    "released by others": call(
        ConnectError,
        ["receptor_type=1 of a iaf_tum_2000", "exc is a iaf_psc_exp", "or use receptor_type=0"],
        lambda sim, n: sim.connect(n["exc"], sim.create(ds.iaf_tum_2000, 2), receptor_type=1, weight=1 * u.pA),
    ),
    "more than all": call(
        ParameterError,
        ["iaf_tum_2000(x=0.7, y=0.6", "parts of a whole"],
        lambda sim, n: sim.create(ds.iaf_tum_2000, x=0.7, y=0.6),
    ),
    "weight with unit for a current": call(
        ConnectError,
        ["connect(dc, exc)", "weight", "without unit", "3 pA"],
        lambda sim, n: sim.connect(n["dc"], n["exc"], weight=3 * u.pA),
    ),
    "delays of a generator": call(
        ConnectError,
        ["connect(noise, exc)", "one delay"],
        lambda sim, n: sim.connect(n["noise"], n["exc"], delay=normal(3, 0.1, unit=u.ms)),
    ),
    "unknown recordable": call(
        UnknownNameError,
        ["connect(m, exc)", "recordable 'V'", "I_syn_ex"],
        lambda sim, n: sim.connect(sim.create(ds.multimeter, record_from=["V"], name="m"), n["exc"]),
    ),
    "meter of nothing": call(
        ConnectError, ["records nothing", "record_from=", "V_m"], lambda sim, n: sim.connect(sim.create(ds.multimeter), n["exc"])
    ),
    # neurons
    "tau_m 0": neuron(ParameterError, ["tau_m=0 ms", "above 0 ms"], tau_m=0 * u.ms),
    "tau_m below 0": neuron(ParameterError, ["tau_m=-1 ms", "above 0 ms"], tau_m=-1 * u.ms),
    "one tau_m 0 of many": neuron(ParameterError, ["tau_m", "above 0 ms"], tau_m=np.array([1.0, 0.0, 2.0]) * u.ms),
    "tau_m that may be drawn below 0": neuron(ParameterError, ["tau_m", "above 0 ms", "min"], tau_m=normal(10, 5, unit=u.ms)),
    "tau_m without unit": neuron(UnitError, ["tau_m", "a time (ms)", "0.02 without unit"], tau_m=0.02),
    "tau_m in mV": neuron(UnitError, ["tau_m", "a time (ms)", "mV"], tau_m=10 * u.mV),
    "tau_m NaN": neuron(ParameterError, ["tau_m", "NaN"], tau_m=np.nan * u.ms),
    "V_reset above V_th": neuron(ParameterError, ["V_reset=-50 mV", "V_th=-55 mV"], V_reset=-50 * u.mV),
    "V_th that may be drawn below V_reset": neuron(
        ParameterError, ["V_reset=-70 mV", "V_th"], 300, V_th=normal(-65, 5, unit=u.mV)
    ),
    "C_m 0": neuron(ParameterError, ["C_m=0 pF", "above 0 pF"], C_m=0 * u.pF),
    "t_ref below 0": neuron(ParameterError, ["t_ref=-1 ms", "at least 0 ms"], t_ref=-1 * u.ms),
    "t_ref beyond 32 bits": neuron(ParameterError, ["t_ref", "at most 1e+06 ms"], t_ref=1e9 * u.ms),
    "misspelt tau_mm": neuron(UnknownNameError, ["'tau_mm'", "'tau_m'?", "C_m, E_L"], tau_mm=10 * u.ms),
    "parameters too many": neuron(ParameterError, ["tau_m", "4 values", "3 neurons"], tau_m=np.ones(4) * u.ms),
    "size 0": neuron(ParameterError, ["0", "whole number of at least 1"], 0),
    "size -5": neuron(ParameterError, ["-5", "whole number of at least 1"], -5),
    "size 2.5": neuron(ParameterError, ["2.5", "whole number of at least 1"], 2.5),
    "params in a list": call(ParameterError, ["params=[1]", "dict("], lambda sim, n: sim.create(ds.iaf_psc_exp, params=[1])),
    "given twice": call(
        ParameterError, ["tau_m", "twice"], lambda sim, n: sim.create(ds.iaf_psc_exp, params=dict(tau_m=1 * u.ms), tau_m=1 * u.ms)
    ),
    "name taken": call(ParameterError, ["name='exc'", "taken"], lambda sim, n: sim.create(ds.iaf_psc_exp, name="exc")),
    "unknown model": call(UnknownNameError, ["'iaf_psc_expp'", "'iaf_psc_exp'?"], lambda sim, n: sim.create("iaf_psc_expp")),
    "model of another kind": call(UnknownNameError, ["'dict'", "aeif_cond_exp"], lambda sim, n: sim.create(dict)),
    # devices
    "rate below 0": device(ParameterError, ["rate=-1 Hz", "at least 0 Hz"], ds.poisson_generator, rate=-1 * u.Hz),
    "rate NaN": device(ParameterError, ["rate", "NaN"], ds.poisson_generator, rate=np.nan * u.Hz),
    "rate infinite": device(ParameterError, ["rate", "finite"], ds.poisson_generator, rate=np.inf * u.Hz),
    "rate 1e12 Hz": device(ParameterError, ["rate", "a million spikes per step"], ds.poisson_generator, rate=1e12 * u.Hz),
    "rate without unit": device(UnitError, ["rate", "a rate (Hz)", "8000 without unit"], ds.poisson_generator, rate=8000),
    "rates too many": device(ParameterError, ["rate", "one per device (2)"], ds.poisson_generator, 2, rate=np.ones(3) * u.Hz),
    "misspelt rats": device(UnknownNameError, ["'rats'", "'rate'?"], ds.poisson_generator, rats=1 * u.Hz),
    "amplitude in mV": device(UnitError, ["amplitude", "a current (pA)"], ds.dc_generator, amplitude=1 * u.mV),
    "stop before start": device(ParameterError, ["stop=1 ms", "start=5"], ds.dc_generator, start=5 * u.ms, stop=1 * u.ms),
    "spike off the grid": device(
        ParameterError, ["0.25 ms", "dt=0.1 ms"], ds.spike_generator, spike_times=np.array([0.25]) * u.ms
    ),
    "spike at 0": device(ParameterError, ["0 ms", "dt=0.1 ms"], ds.spike_generator, spike_times=np.array([0.0]) * u.ms),
    "spike at infinity": device(ParameterError, ["infinite"], ds.spike_generator, spike_times=np.array([np.inf]) * u.ms),
    "spikes in disorder": device(ParameterError, ["ascend"], ds.spike_generator, spike_times=np.array([2.0, 1.0]) * u.ms),
    "trains too few": device(ParameterError, ["(3)", "got 1"], ds.spike_generator, 3, spike_times=[np.ones(1) * u.ms]),
    "start off the grid": device(ParameterError, ["start=0.25 ms", "dt=0.1 ms"], ds.dc_generator, start=0.25 * u.ms),
    "start below 0": device(ParameterError, ["start=-1 ms", "at least 0"], ds.dc_generator, start=-1 * u.ms),
    "starts too many": device(ParameterError, ["one per device (1)"], ds.dc_generator, start=np.ones(2) * u.ms),
    "phase with a unit": device(ParameterError, ["phase", "without unit"], ds.ac_generator, phase=3 * u.ms),
    "values too few": device(
        ParameterError,
        ["amplitude_times", "2 times and 1 values"],
        ds.step_current_generator,
        amplitude_times=np.array([1.0, 2.0]) * u.ms,
        amplitude_values=np.ones(1) * u.pA,
    ),
    "a change at 0": device(
        ParameterError,
        ["0 ms", "above 0 ms"],
        ds.step_current_generator,
        amplitude_times=np.array([0.0]) * u.ms,
        amplitude_values=np.ones(1) * u.pA,
    ),
    "changes in disorder": device(
        ParameterError,
        ["must ascend"],
        ds.inhomogeneous_poisson_generator,
        rate_times=np.array([2.0, 1.0]) * u.ms,
        rate_values=np.ones(2) * u.Hz,
    ),
    "a change off the grid": device(
        ParameterError,
        ["0.25 ms", "dt=0.1 ms", "allow_offgrid_times"],
        ds.inhomogeneous_poisson_generator,
        rate_times=np.array([0.25]) * u.ms,
        rate_values=np.ones(1) * u.Hz,
    ),
    "rate value below 0": device(
        ParameterError,
        ["rate_values", "at least 0 Hz"],
        ds.inhomogeneous_poisson_generator,
        rate_times=np.array([1.0]) * u.ms,
        rate_values=-np.ones(1) * u.Hz,
    ),
    "noise dt off the grid": device(ParameterError, ["dt=0.25 ms", "multiple"], ds.noise_generator, dt=0.25 * u.ms),
    "std of noise below 0": device(ParameterError, ["std=-1", "at least 0 pA"], ds.noise_generator, std=-1 * u.pA),
    "p_copy 1.5": device(ParameterError, ["p_copy=1.5", "at most 1"], ds.mip_generator, p_copy=1.5),
    "gamma_shape 0": device(ParameterError, ["gamma_shape=0", "at least 1"], ds.gamma_sup_generator, gamma_shape=0),
    "gamma_shape 1.5": device(ParameterError, ["gamma_shape=1.5", "whole"], ds.gamma_sup_generator, gamma_shape=1.5),
    "dead for too long": device(
        ParameterError, ["dead_time=60", "1 / rate"], ds.ppd_sup_generator, rate=20 * u.Hz, dead_time=60 * u.ms
    ),
    "rate beyond the draws": device(ParameterError, ["rate=", "at most 80"], ds.mip_generator, rate=1e6 * u.Hz),
    "a flag of another kind": device(
        ParameterError, ["individual_spike_trains=3", "True or False"], ds.sinusoidal_poisson_generator, individual_spike_trains=3
    ),
    "weights of spikes too few": device(
        ParameterError,
        ["2 spikes, 1 spike_weights"],
        ds.spike_generator,
        spike_times=np.array([1.0, 2.0]) * u.ms,
        spike_weights=[1.0],
    ),
    "precise times": device(ParameterError, ["precise_times", "on the grid"], ds.spike_generator, precise_times=True),
    "rate to a neuron": call(
        ConnectError, ["gives a rate", "no rate neurons"], lambda sim, n: sim.connect(sim.create("step_rate_generator"), n["exc"])
    ),
    "packet to a union by a rule of all": call(
        ConnectError,
        ["fixed_total_number", "one model at a time"],
        lambda sim, n: sim.connect(n["clock"], n["exc"] + n["jump"], ds.fixed_total_number(5)),
    ),
    "plasticity from spikes with weights": call(
        ConnectError,
        ["stdp_synapse", "no synapses that could change"],
        lambda sim, n: sim.connect(
            sim.create(ds.spike_generator, spike_times=np.ones(1) * u.ms, spike_weights=[2.0]), n["exc"], synapse="stdp_synapse"
        ),
    ),
    "interval 0.25": device(ParameterError, ["interval=0.25 ms", "dt=0.1 ms"], ds.voltmeter, interval=0.25 * u.ms),
    "interval 0": device(ParameterError, ["interval=0 ms", "multiple"], ds.voltmeter, interval=0 * u.ms),
    # neurons of two states
    "spikes to two states": two_states("exc", "mcculloch_pitts_neuron"),
    "two states to spikes": two_states("ginzburg_neuron", "jump"),
    "noise to two states": two_states("noise", "ginzburg_neuron"),
    # views
    "index out of range": call(ParameterError, ["exc[10]", "10 nodes"], lambda sim, n: n["exc"][10]),
    "node chosen twice": call(ParameterError, ["exc", "more than once"], lambda sim, n: n["exc"][[0, 0]]),
    "union with itself": call(ConnectError, ["exc + exc", "in common"], lambda sim, n: n["exc"] + n["exc"]),
    "union with a device": call(ConnectError, ["exc + noise", "neurons"], lambda sim, n: n["exc"] + n["noise"]),
    # the simulation
    "duration below 0": simulate(ParameterError, ["-1 ms", "at least 0 ms"], -1 * u.ms),
    "duration NaN": simulate(ParameterError, ["NaN"], np.nan * u.ms),
    "duration infinite": simulate(ParameterError, ["inf ms", "finite"], np.inf * u.ms),
    "duration without unit": simulate(UnitError, ["a time (ms)", "10 without unit", "10 * u.ms"], 10),
    "duration in mV": simulate(UnitError, ["a time (ms)", "1 mV"], 1 * u.mV),
    "duration off the grid": simulate(ParameterError, ["0.25 ms", "dt=0.1 ms", "0.3 ms"], 0.25 * u.ms),
    "duration beyond 32 bits": simulate(ParameterError, ["3,000,000,000 steps", "2,147,483,647"], 3e8 * u.ms),
    "no neurons": call(ConnectError, ["simulate", "no neurons"], lambda sim, n: ds.Simulator().simulate(1 * u.ms)),
    "dt 0": simulator(ParameterError, ["dt=0 ms", "positive multiple"], dt=0 * u.ms),
    "dt below 0": simulator(ParameterError, ["dt=-0.1 ms", "positive"], dt=-0.1 * u.ms),
    "dt without unit": simulator(UnitError, ["dt=0.1", "a time (ms)"], dt=0.1),
    "dt off the grid": simulator(ParameterError, ["1 us"], dt=0.00025 * u.ms),
    "seed -1": simulator(ParameterError, ["seed=-1", "from 0 to 2**64 - 1"], seed=-1),
    "seed 1.5": simulator(ParameterError, ["seed=1.5", "whole number"], seed=1.5),
    "precision 16": simulator(ParameterError, ["precision=16", "32 or 64"], precision=16),
    "unknown placement": simulator(UnknownNameError, ["placement 'blok'", "'block'?", "round_robin"], placement="blok"),
    "placement of another kind": simulator(ParameterError, ["placement=3", "round_robin"], placement=3),
    "unknown exchange": simulator(UnknownNameError, ["exchange 'masks'", "'mask'?", "ids"], exchange="masks"),
    "exchange class": simulator(ParameterError, ["exchange=", "mask"], exchange=ds.AllGather),
    "capacity 0": call(ParameterError, ["capacity=0", "at least 1"], lambda sim, n: ds.AllGatherIds(capacity=0)),
    "unknown backend": simulator(UnknownNameError, ["backend 'opencl'", "reference"], backend="opencl"),
    "backend of other devices": simulator(DeviceError, ["backend 'cuda'", "NVIDIA", "reference"], backend="cuda"),
    "chunk 0": simulator(ParameterError, ["chunk=0 ms", "0.1 ms"], chunk=0 * u.ms),
    "chunk without unit": simulator(UnitError, ["chunk=5", "a time (ms)"], chunk=5),
    "chunks": simulator(ParameterError, ["chunk", "one time"], chunk=np.ones(2) * u.ms),
    "devices 0": simulator(ParameterError, ["devices=0", "at least one"], devices=0),
    "devices 2.5": simulator(ParameterError, ["devices=2.5", "whole number"], devices=2.5),
    "devices 99": simulator(DeviceError, ["devices=99", "there are", "--devices 99"], devices=99),
}


@pytest.fixture
def script(monkeypatch):
    """A sound network, not yet built, that must never be compiled."""
    monkeypatch.setattr(ChunkedLoop, "compile", lambda *args: pytest.fail("bad input was compiled"))
    return sound()


def sound():
    sim = ds.Simulator(seed=1)
    nodes = {
        "exc": sim.create(ds.iaf_psc_exp, 10, params=dict(I_e=500 * u.pA), name="exc"),
        "jump": sim.create(ds.iaf_psc_delta, 10, name="jump"),
        "noise": sim.create(ds.poisson_generator, name="noise"),
        "dc": sim.create(ds.dc_generator, name="dc"),
        "clock": sim.create(ds.spike_generator, name="clock"),
        "rec": sim.create(ds.spike_recorder, name="rec"),
        "volt": sim.create(ds.voltmeter, name="volt"),
    }
    return sim, nodes


def provoke(case, sim, nodes):
    error, words, function = CASES[case]
    with pytest.raises(DistSimError) as caught:
        function(sim, nodes)
    return error, words, caught.value


@pytest.mark.parametrize("case", CASES)
def test_one_clear_error_before_compilation(case, script):
    error, words, caught = provoke(case, *script)
    text = str(caught)
    assert type(caught) is error and isinstance(caught, BUILTIN[error])
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"
    assert len(text.splitlines()) <= 6 and len(text) < 500
    assert "Traced" not in text and "jax" not in text.lower().replace("jax is used", "")
    # One error, no chain of others behind it for a user to read through.
    assert caught.__cause__ is None or caught.__suppress_context__ or isinstance(caught.__cause__, IndexError)


def test_what_was_refused_leaves_nothing_behind():
    """After every refused call, the rest of the script gives the network that it gives alone."""

    def finish(sim, nodes):
        sim.connect(nodes["exc"], nodes["jump"], rule=ds.fixed_indegree(3), weight=normal(8, 4, unit=u.mV))
        sim.connect(nodes["exc"] + nodes["jump"], nodes["rec"])
        sim.connect(nodes["exc"], nodes["exc"], rule=ds.pairwise_bernoulli(0.4), weight=normal(100, 100), delay=0.1 * u.ms)
        return sim.simulate(50 * u.ms)

    sim, nodes = sound()
    makers = ("connect", "turned", "neuron", "device", "simulate")
    for case, (_, _, function) in CASES.items():
        if function.__qualname__.split(".")[0] in makers:
            provoke(case, sim, nodes)
    wanted = finish(*sound())
    assert wanted.summary["spikes"] > 20
    assert finish(sim, nodes).digest == wanted.digest


@pytest.mark.parametrize(
    "case",
    [
        dict(delay=150 * u.ms),
        dict(delay=1.5 * u.second),
        dict(delay=0.05 * u.ms),
        dict(weight=1 * u.nA),
        dict(weight=0 * u.pA),
        dict(rule="fixed_indegree", indegree=0),
        dict(rule=ds.pairwise_bernoulli(np.float32(0.5))),
        dict(rule=ds.fixed_indegree(np.int64(3))),
        dict(receptor_type=0),
        dict(delay=ds.dist.Normal(1 * u.ms, 1 * u.ms, min=0.05 * u.ms)),
        dict(weight=np.ones((10, 10)) * u.pA),
    ],
    ids=str,
)
def test_what_is_unusual_is_allowed(script, case):
    sim, nodes = script
    sim.connect(nodes["exc"], nodes["exc"], **case)


def test_a_run_of_no_time_is_a_run():
    sim, nodes = sound()
    sim.connect(nodes["exc"], nodes["rec"])
    result = sim.simulate(0 * u.ms)
    assert result.summary["spikes"] == 0 and len(result.events(nodes["rec"])[1]) == 0


def test_the_same_connection_twice_doubles_the_synapses():
    sim, nodes = sound()
    for _ in range(2):
        sim.connect(nodes["exc"], nodes["exc"], rule=ds.fixed_indegree(3))
    assert sim.simulate(0 * u.ms).summary["synapses"] == 60


def test_a_network_that_is_built_stays_as_it_is():
    sim, nodes = sound()
    sim.simulate(0 * u.ms)
    for change in (lambda: sim.create(ds.iaf_psc_exp), lambda: sim.connect(nodes["exc"], nodes["exc"])):
        with pytest.raises(ConnectError, match="built.*new Simulator"):
            change()


def test_equal_time_constants_are_exact():
    """tau_m = tau_syn is where the propagators of other forms divide by zero: V is what it is beside it."""
    traces = []
    for tau_syn in (10.0, 10.0 + 1e-7):
        sim = ds.Simulator(precision=64)
        cell = sim.create(ds.iaf_psc_exp, params=dict(tau_m=10 * u.ms, tau_syn_ex=tau_syn * u.ms, tau_syn_in=tau_syn * u.ms))
        clock = sim.create(ds.spike_generator, spike_times=np.array([1.0]) * u.ms)
        meter = sim.create(ds.voltmeter, interval=0.1 * u.ms)
        sim.connect(clock, cell, weight=50 * u.pA)
        sim.connect(meter, cell)
        traces.append(np.asarray(sim.simulate(20 * u.ms).trace(meter).to_decimal(u.mV)))
    assert traces[0].max() > -69.9
    np.testing.assert_allclose(traces[0], traces[1], rtol=0, atol=1e-6)


def test_views_can_be_walked_through():
    _, nodes = sound()
    assert [view.ids.tolist() for view in nodes["exc"]] == [[k] for k in range(10)]


def test_64_bits_on_a_tpu_are_refused(monkeypatch):
    class Device:
        platform = "tpu"

    class Mesh:
        devices = np.array([Device()])
        size = 1

    monkeypatch.setattr("dist_sim.partition.run_mesh", lambda devices: Mesh())
    with pytest.raises(DeviceError, match=r"precision=64.*precision=32"):
        ds.Simulator(dt=0.1 * u.ms, precision=64)
