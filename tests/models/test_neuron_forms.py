"""What neuron models promise beyond their equations: refractoriness, upstrokes, action potentials, synapses of their own."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import HiddenState, environ, init_all_states, transform
from dist_sim.errors import ParameterError
from models.equations import EQUATIONS

REFRACTORY = [name for name in EQUATIONS if name.endswith("Ref")]
CONTINUOUS = ["HH", "MorrisLecar", "WangBuzsakiHH", "FitzHughNagumo", "HindmarshRose"]
UPSTROKE = ["ExpIF", "AdExIF", "QuaIF", "AdQuaIF", "Izhikevich"]


def run(neuron, x, steps, dt=0.1):
    """Spikes, and what the hidden States hold in the end."""
    with environ.context(dt=dt * u.ms):
        init_all_states(neuron)
        spikes = transform.jit(lambda: transform.for_loop(lambda: neuron(x), length=steps))()
    return np.asarray(spikes), [np.asarray(u.get_mantissa(state.value)) for state in neuron.states(HiddenState).values()]


@pytest.mark.parametrize("spk_reset", ["soft", "hard"])
@pytest.mark.parametrize("name", REFRACTORY)
def test_a_refractory_neuron_does_not_spike_whatever_the_input(name, spk_reset):
    model = getattr(ds, name)
    spikes, _ = run(model(2, tau_ref=2.0 * u.ms, spk_reset=spk_reset), 1e6 * model.input_unit, 200)
    # 20 steps and not 21, though neither 0.1 nor 2.0 / 0.1 be exact in binary.
    assert set(np.diff(np.flatnonzero(spikes[:, 1]))) == {20}


@pytest.mark.parametrize("name", REFRACTORY)
def test_without_a_time_it_is_the_form_that_is_never_refractory(name):
    model, plain = getattr(ds, name), getattr(ds, name.removesuffix("Ref"))
    x = np.array([0.5, 1.0, 3.0]) * EQUATIONS[name].strong * model.input_unit
    spikes, states = run(model(3, tau_ref=0.0 * u.ms), x, 400)
    others, other_states = run(plain(3), x, 400)
    assert spikes.any() and np.array_equal(spikes, others)
    for state, other in zip(states, other_states, strict=True):
        assert np.allclose(state, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dt", [0.1, 1.0])
@pytest.mark.parametrize("spk_reset", ["soft", "hard"])
@pytest.mark.parametrize("name", UPSTROKE)
def test_an_upstroke_is_cut_off_and_a_spike_leaves_it_at_the_reset(name, spk_reset, dt):
    model = getattr(ds, name)
    neuron = model(4, spk_reset=spk_reset)
    below = neuron.c if name == "Izhikevich" else neuron.V_reset
    xs = np.array([1.0, 2.0, 5.0, 20.0]) * EQUATIONS[name].strong * model.input_unit

    def step():
        was = neuron.get_spike()
        return neuron(xs), neuron.V.value.to_decimal(u.mV), was

    def loss(scale):
        cell = model(4, spk_reset=spk_reset)
        cell.init_state()
        return transform.for_loop(lambda: (cell(xs * scale).sum(), cell.V.value.to_decimal(u.mV).sum()), length=100)[0].mean()

    with environ.context(dt=dt * u.ms):
        init_all_states(neuron)
        spikes, V, _ = transform.jit(lambda: transform.for_loop(step, length=200))()
        gradient = jax.jit(jax.grad(loss))(1.0)
        # From where it was left, under no input: V moves by little from the reset.
        neuron.V.value = jnp.array([1.01, 1.1, 1.5, 2.0]) * (neuron.V_th - below) + below
        start = neuron.after_spike(neuron.V.value, neuron.get_spike(), neuron.V_th, below)
    height = (neuron.V_th - below).to_decimal(u.mV)
    assert np.isfinite(V).all() and V.max() <= neuron.V_th.to_decimal(u.mV) + height * (1 + 1e-6)
    assert spikes[:, 0].any() and np.isfinite(gradient)
    assert np.allclose(start.to_decimal(u.mV), below.to_decimal(u.mV), rtol=1e-5)


def test_spikes_of_a_soft_reset_do_not_run_away():
    # With the reset of brainpy.state V stays above threshold after the first spike, and 1972 of 2000 steps have one.
    spikes, _ = run(ds.ExpIF(1), 60.0 * u.mA, 2000)
    _, exact = EQUATIONS["ExpIF"].solve(60.0, 200.0)
    assert abs(spikes.sum() - len(exact)) <= 0.05 * len(exact)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_an_action_potential_is_one_spike_also_between_steps(name):
    model, equation = getattr(ds, name), EQUATIONS[name]
    neuron = init_all_states(model(1, **equation.arguments))
    with environ.context(dt=0.05 * u.ms):
        x = equation.strong * model.input_unit
        asked, spikes, above = transform.for_loop(
            lambda: (neuron.get_spike(), neuron(x), neuron.get_spike(neuron.V.value)), length=1200
        )
    asked, spikes, above = (np.asarray(found)[:, 0] for found in (asked, spikes, above))
    assert 1 <= spikes.sum() < above.sum() / 3
    assert np.array_equal(asked[1:], spikes[:-1]) and asked[0] == 0
    assert np.array_equal(np.flatnonzero(spikes), np.flatnonzero(np.diff(above, prepend=0) > 0))


@pytest.mark.parametrize("V_th", [-20.0, 0.0, 20.0])
@pytest.mark.parametrize("name", ["HH", "WangBuzsakiHH", "Izhikevich"])
def test_spikes_are_above_a_threshold_of_any_sign(name, V_th):
    neuron = getattr(ds, name)(1, V_th=V_th * u.mV)
    found = neuron.get_spike(np.array([V_th - 30, V_th - 1e-3, V_th, V_th + 30]) * u.mV)
    assert found.tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["CubaLIF", "CobaLIF"])
def test_its_own_synapse_is_an_expon_with_an_output(name):
    ds.random.seed(0)
    membrane = dict(tau=10.0 * u.ms, V_th=1.0 * u.mV)
    own = (ds.CubaLIF if name == "CubaLIF" else ds.CobaLIF)(
        20, tau_syn=3.0 * u.ms, **membrane, **({"E": 5.0 * u.mV} if name == "CobaLIF" else {})
    )
    post = ds.LIF(20, **membrane)
    unit = u.mA if name == "CubaLIF" else u.siemens
    comm = ds.nn.EventFixedNumConn(30, 20, 5, ds.init.Uniform(0.1, 0.4, unit=u.siemens))
    out = ds.CUBA(scale=1.0 * u.mV) if name == "CubaLIF" else ds.COBA(E=5.0 * u.mV)
    syn = ds.Expon(20, tau=3.0 * u.ms, g_initializer=0.0 * u.siemens)
    projection = ds.AlignPostProj(comm=comm, syn=syn, out=out, post=post)
    for module in (own, post, projection):
        init_all_states(module)
    arriving = np.random.default_rng(0).random((100, 30)) < 0.05

    def step(spikes):
        projection(spikes)
        own.add_delta_input("synapses", comm(spikes).to_decimal(u.siemens) * unit)
        return post(0.2 * u.mA), own(0.2 * u.mA), post.V.value.to_decimal(u.mV), own.V.value.to_decimal(u.mV)

    with environ.context(dt=0.1 * u.ms):
        spikes, own_spikes, V, own_V = transform.for_loop(step, jnp.asarray(arriving))
    assert np.asarray(spikes).any() and np.array_equal(spikes, own_spikes) and np.allclose(V, own_V, rtol=1e-4, atol=1e-5)


def test_a_neuron_of_ones_own_needs_a_state_a_spike_and_a_step():
    # As in the documentation of brainpy.state, by renamed imports.
    class Simple(ds.Neuron):
        def __init__(self, in_size, V_th=1.0 * u.mV, **given):
            super().__init__(in_size, **given)
            self.V_th = V_th

        def init_state(self, batch_size=None, **_):
            self.V = ds.HiddenState(jnp.zeros(self.varshape) * u.mV)

        def get_spike(self, V=None):
            V = self.V.value if V is None else V
            return self.spk_fun((V - self.V_th) / self.V_th)

        def update(self, x):
            self.V.value += x
            return self.get_spike()

    spikes, _ = run(Simple(2), np.array([0.3, 0.6]) * u.mV, 3)
    assert spikes.tolist() == [[0, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ds.IF(3, V_th=0.0 * u.mV), r"IF\(V_th=...\): must be above 0 mV; got 0 mV"),
        (lambda: ds.ExpIF(3, V_reset=-20.0 * u.mV), "V_reset must be below V_th; got one above"),
        (lambda: ds.Izhikevich(3, c=40.0 * u.mV), r"Izhikevich\(c=...\): c must be below V_th; got one above"),
        (lambda: ds.Gif(3, V_th_inf=-70.0 * u.mV), "V_reset must be below V_th_inf"),
        (lambda: ds.ExpIF(3, delta_T=0.0 * u.mV), r"ExpIF\(delta_T=...\): must be above 0 mV"),
        (lambda: ds.QuaIF(3, c=-1.0 / u.mV), r"QuaIF\(c=...\): must be above 0"),
        (lambda: ds.HH(3, C=0.0 * u.uF), r"HH\(C=...\): must be above 0"),
        (lambda: ds.GifRef(3, tau_ref=-1.0 * u.ms), r"GifRef\(tau_ref=...\): must be at least 0 ms"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_when_it_is_made(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
