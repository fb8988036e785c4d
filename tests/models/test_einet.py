"""The network of brainpy.state's README: a population whose spikes are sliced, on any number of devices."""

import re

import brainunit as u
import jax
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.errors import ParameterError, UnitError


class EINet(ds.Module):
    """Renamed imports; the weights in siemens per neuron of 1 ohm are 1000 times the printed ones, which couple nothing."""

    def __init__(self, num=4000, weighted=False):
        super().__init__()
        self.n_exc = num * 4 // 5
        self.n_inh = num - self.n_exc
        self.N = ds.LIFRef(
            num, V_rest=-60.0 * u.mV, V_th=-50.0 * u.mV, V_reset=-60.0 * u.mV, tau=20.0 * u.ms, tau_ref=5.0 * u.ms,
            V_initializer=ds.init.Normal(-55.0, 2.0, unit=u.mV),
        )  # fmt: skip
        weights = [ds.init.Uniform(0.8 * w, 1.2 * w, unit=u.siemens) if weighted else w * u.siemens for w in (0.6, 6.7)]
        self.E = ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(self.n_exc, num, conn_num=0.02, conn_weight=weights[0]),
            syn=ds.Expon.desc(num, tau=5.0 * u.ms),
            out=ds.COBA.desc(E=0.0 * u.mV),
            post=self.N,
        )
        self.I = ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(self.n_inh, num, conn_num=0.02, conn_weight=weights[1]),
            syn=ds.Expon.desc(num, tau=10.0 * u.ms),
            out=ds.COBA.desc(E=-80.0 * u.mV),
            post=self.N,
        )

    def update(self, t, inp):
        with environ.context(t=t):
            spk = self.N.get_spike() != 0.0
            self.E(spk[: self.n_exc])
            self.I(spk[self.n_exc :])
            self.N(inp)
            return self.N.get_spike()


def run(devices=None, steps=300, **options):
    ds.random.seed(3)
    if devices is None:
        net = EINet(**options)
        init_all_states(net)
    else:
        with ds.use_mesh(devices=devices):
            net = EINet(**options)
            init_all_states(net)
    with environ.context(dt=0.1 * u.ms):
        times = u.math.arange(0.0 * u.ms, steps * 0.1 * u.ms, 0.1 * u.ms)[:steps]
        spikes = transform.for_loop(lambda t: net.update(t, 20.0 * u.mA), times)
    return net, np.asarray(spikes), np.asarray(net.N.V.value.to_decimal(u.mV))


@pytest.mark.parametrize("weighted", [False, True], ids=["one weight", "a weight per synapse"])
def test_the_spikes_do_not_depend_on_the_devices(weighted):
    _, alone, V = run(1, weighted=weighted)
    assert 2000 < alone.sum() < 100_000, "a silent or a saturated network proves nothing"
    for devices in (2, 3, 8):
        _, spikes, V_there = run(devices, weighted=weighted)
        assert np.array_equal(spikes, alone) and np.array_equal(V_there, V)
    _, plain, _ = run(None, weighted=weighted)
    assert np.array_equal(plain, alone)


@pytest.mark.parametrize("exchange", ["mask", "memory"])
def test_the_step_gathers_spikes_once(exchange):
    with ds.use_mesh(devices=2, exchange=exchange):
        net = init_all_states(EINet(512))
    with environ.context(dt=0.1 * u.ms):
        step = transform.jit(lambda: transform.for_loop(lambda: net.update(0.0 * u.ms, 20.0 * u.mA), length=3))
        text = step.lower().compile().as_text()
    gathers = [line for line in text.splitlines() if re.search(r" all-gather\(|dist_sim\.gather", line) and "while" in line]
    assert len(gathers) == 1
    assert (" pred[512]{0} all-gather(" if exchange == "mask" else " = (pred[512]") in gathers[0]
    assert not any(word in text for word in ("all-reduce(", "all-to-all("))


def test_equal_descriptions_share_their_synapses():
    post = ds.LIF(50)

    def projection(tau):
        return ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(20, 50, 0.1, 1.0 * u.mS), syn=ds.Expon.desc(50, tau=tau), out=ds.COBA.desc(E=0 * u.mV),
            post=post,
        )  # fmt: skip

    first, second, third = projection(5 * u.ms), projection(5.0 * u.ms), projection(6 * u.ms)
    assert first.syn is second.syn and first.out is second.out and third.syn is not first.syn
    assert list(post.before_updates) == [f"Expon(50, tau={n} ms) // COBA(E=0 mV)" for n in (5, 6)]
    init_all_states(post)
    ones = np.ones(20, bool)
    with environ.context(dt=0.1 * u.ms):
        first(ones)
        second(ones)
        post(0 * u.mA)
        wanted = first.comm(ones) + second.comm(ones)
        assert np.allclose(first.syn.g.value.to_decimal(u.mS), wanted.to_decimal(u.mS))
        first(ones)
        with pytest.raises(ParameterError, match="a second time before the first was used"):
            first(ones)
        with pytest.raises(ParameterError, match="Call the population, as in `post\\(x\\)`"):
            transform.jit(post.update)(0 * u.mA)


def test_print_shows_what_is_held_where_it_lies_and_what_is_shared():
    if len(jax.devices()) < 4:
        pytest.skip("needs 4 devices")
    with environ.context(dt=0.1 * u.ms), ds.use_mesh(devices=4):
        net = EINet(4000, weighted=True)
        net.far = ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(4000, 4000, 0.01, 0.1 * u.siemens, efferent_target="pre"),
            syn=ds.Expon.desc(4000, tau=5 * u.ms), out=ds.COBA.desc(E=0 * u.mV), post=net.N, delay=1 * u.ms,
        )  # fmt: skip
        init_all_states(net)
    lines = repr(net).splitlines()
    E, I = "Expon(4000, tau=5 ms) // COBA(E=0 mV)", "Expon(4000, tau=10 ms) // COBA(E=-80 mV)"
    synapse = ["    syn: Expon(", "      g: HiddenState float32[4000] S, neuron:4, 16 kB", "    )", "    out: COBA()"]
    # Two synapses for three projections: the first and the last name the same one.
    assert [line.strip() for line in lines if "SynapseAndOutput" in line] == [
        f"before_updates.{E}: SynapseAndOutput(",
        f"before_updates.{I}: SynapseAndOutput(",
        f"pair: SynapseAndOutput at N.before_updates.{E}",
        f"pair: SynapseAndOutput at N.before_updates.{I}",
        f"pair: SynapseAndOutput at N.before_updates.{E}",
    ]
    assert lines[:2] == ["EINet(", "  N: LIFRef("]
    for name in (E, I):
        at = lines.index(f"    before_updates.{name}: SynapseAndOutput(")
        assert lines[at + 1 : at + 5] == [f"  {line}" for line in synapse]
    assert "    V: HiddenState float32[4000] mV, neuron:4, 16 kB" in lines
    assert "    refractory: ShortTermState int32[4000], neuron:4, 16 kB" in lines
    # Weights, and the tables of synapses, which are most of it: 8 bytes a synapse, where they are evenly spread.
    width = net.E.comm.weight.value.shape[1]
    assert f"      weight: ParamState float32[4000,{width}] S, neuron:4, {16e-3 * width:.3g} MB" in lines
    at = lines.index("  far: AlignPostProj(")
    assert lines[at + 1 : at + 10] == [
        "    comm: EventFixedNumConn(",
        "      weight: ParamState float32[] S, whole on 4 devices, 4 B",
        "      synapses.pointers: LongTermState uint32[4,4001], neuron:4, 64 kB",
        "      synapses.synapses: LongTermState uint16[4,40960], neuron:4, 328 kB",
        "    )",
        "    post: LIFRef at N",
        "    line: Delay(",
        "      history: DelayState float32[11,4000] S, neuron:4, 176 kB",
        "      newest: ShortTermState int32[], whole on 4 devices, 4 B",
    ]
    # What is shown beside the tree is not in it.
    assert not any("synapses" in path for path in net.states())


def test_one_value_per_target_is_the_sum_of_the_synapses():
    ds.random.seed(1)
    post = ds.LIF(30, tau=10 * u.ms)
    proj = ds.AlignPostProj(
        comm=ds.nn.EventFixedNumConn(40, 30, 6, ds.init.Uniform(0.0, 1.0, unit=u.mS)), syn=ds.Expon.desc(30, tau=3 * u.ms),
        out=ds.COBA.desc(E=0 * u.mV), post=post,
    )  # fmt: skip
    init_all_states(post)
    spikes = np.random.default_rng(0).random((50, 40)) < 0.1
    rows = proj.comm.synapses.incoming[0]
    target = np.repeat(np.arange(30), rows.degrees)
    slot = np.concatenate([np.arange(n) for n in rows.degrees])
    weight = np.asarray(proj.comm.weight.value.to_decimal(u.mS), np.float64)[target, slot]
    g, sums = np.zeros(len(target)), []
    for sent in spikes:
        g = g * np.exp(-0.1 / 3.0) + weight * sent[rows.sources]
        sums.append(np.bincount(target, g, minlength=30))
    with environ.context(dt=0.1 * u.ms):
        found = transform.for_loop(lambda s: (proj(s), post(0 * u.mA), proj.syn.g.value)[-1], jax.numpy.asarray(spikes))
    assert np.allclose(found.to_decimal(u.mS), sums, rtol=2e-6, atol=1e-7)


def bad(**changed):
    post = ds.LIF(50, tau=10 * u.ms)
    given = dict(
        comm=ds.nn.EventFixedProb(100, 50, 0.1, 0.5 * u.mS), syn=ds.Expon.desc(50), out=ds.COBA.desc(E=0 * u.mV), post=post
    )
    return ds.AlignPostProj(**given | changed)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        # As printed in brainpy.state's overview: the post population has another size.
        (lambda: bad(post=ds.LIF(100)), ParameterError, r"comm leads to \(50,\) targets; post has \(100,\)"),
        (lambda: bad(comm=ds.nn.EventFixedProb(100, 50, 0.1, 0.5)), UnitError, "got weights without unit"),
        (lambda: bad(syn=ds.Expon.desc(50, tau=5 * u.mV)), UnitError, r"Expon\(tau=...\): needs a time"),
        (lambda: bad(out=ds.COBA.desc(E=3 * u.ms)), UnitError, r"COBA\(E=...\): needs a voltage"),
        (lambda: bad(out=ds.CUBA.desc(scale=1.0)), UnitError, "takes a current"),
        (lambda: bad(syn=ds.Expon.desc(49)), ParameterError, r"the synapse has \(49,\) targets"),
        (lambda: bad(out=ds.COBA(E=0 * u.mV)), ParameterError, "give descriptions of both"),
        (lambda: bad(comm=3), ParameterError, "needs connectivity"),
        (lambda: ds.nn.EventFixedProb(10, 10, 1.5, 1.0), ParameterError, "needs a whole number, or a float between 0 and 1"),
        (lambda: ds.nn.EventFixedProb(10, 10, 3, np.ones((10, 2))), ParameterError, "a row per target"),
        (lambda: ds.nn.EventFixedProb(10, 10, 3, 1.0, "both"), ParameterError, "allowed are 'post' and 'pre'"),
        (lambda: ds.LIFRef(10, tau_ref=-1 * u.ms), ParameterError, "must be at least 0 ms; got -1 ms"),
        (lambda: ds.init.Normal(1 * u.mV, 1 * u.ms), UnitError, "give quantities of one unit"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_it_is_made(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_refractoriness_is_a_whole_number_of_steps():
    cell = ds.LIFRef(1, V_rest=0 * u.mV, V_th=1 * u.mV, V_reset=0 * u.mV, tau=10 * u.ms, tau_ref=2 * u.ms, spk_reset="hard")
    init_all_states(cell)
    with environ.context(dt=0.1 * u.ms):
        spikes = np.flatnonzero(transform.for_loop(lambda: cell(1e4 * u.mA)[0], length=200))
    assert set(np.diff(spikes)) == {20}


def test_a_connection_from_some_sources_only():
    comm = ds.nn.EventFixedProb(1000, 500, 4, 1.0, afferent_ratio=0.3, seed=1)
    each = comm(np.eye(1000, dtype=bool)).sum(-1)
    assert set(np.asarray(each).tolist()) == {0.0, 4.0} and 200 < (np.asarray(each) > 0).sum() < 400
    by_target = ds.nn.EventFixedProb(1000, 500, 4, 1.0, efferent_target="pre", seed=1)
    assert (np.asarray(by_target(np.ones(1000))) == 4.0).all()
