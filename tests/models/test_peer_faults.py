"""What programs written for brainstate and brainpy.state do with models, and what they get for it there."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ParameterError, UnitError

MS = 0.1 * u.ms


def same(found, wanted, rtol=1e-6):
    assert u.have_same_dim(found, wanted)
    unit = u.get_unit(wanted)
    np.testing.assert_allclose(u.Quantity(found).to_decimal(unit), u.Quantity(wanted).to_decimal(unit), rtol=rtol, atol=1e-7)


class Cell(ds.Neuron):
    """A neuron as people write it: without get_spike, with plain attributes."""

    def __init__(self, in_size, tau=5.0 * u.ms):
        super().__init__(in_size)
        self.tau = tau

    def init_state(self, *args, **kwargs):
        self.V = ds.HiddenState(ds.init.param(ds.init.Constant(0.0 * u.mV), self.varshape))
        self.ge = ds.HiddenState(ds.init.param(ds.init.Constant(0.0 * u.nS), self.varshape))

    def update(self, x=0.0 * u.mA):
        self.ge.value = self.sum_delta_inputs(self.ge.value, label="ge")
        self.V.value = self.sum_delta_inputs(self.V.value, label="V") + self.sum_current_inputs(x) * u.ohm
        return self.V.value


def cell(size=3):
    return ds.nn.init_all_states(Cell(size))


def test_a_neuron_without_get_spike_and_a_synapse_without_update_are_models():
    class Open(ds.Synapse):
        pass

    with ds.environ.context(dt=MS):
        same(cell()(2.0 * u.mA), [2.0, 2.0, 2.0] * u.mV)
        with pytest.raises(NotImplementedError, match="Cell does not define get_spike"):
            cell().get_spike()
        with pytest.raises(NotImplementedError, match="Open does not define update"):
            Open(3)()


def test_labels_of_delta_projections_are_conductances_and_potentials():
    post = cell(2)
    weights = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    to_ge = ds.DeltaProj(comm=ds.nn.Linear(2, 2, weights * u.nS, None), post=post, label="ge")
    to_V = ds.DeltaProj(comm=ds.nn.Linear(2, 2, weights * u.mV, None), post=post, label="V")
    to_ge(jnp.asarray([1.0, 0.0]))
    to_V(jnp.asarray([1.0, 1.0]))
    assert set(post.delta_inputs) == {"ge // DeltaProj", "V // DeltaProj"}
    post()
    same(post.ge.value, [1.0, 2.0] * u.nS)
    same(post.V.value, [4.0, 6.0] * u.mV)
    to_ge(jnp.asarray([1.0, 0.0]))
    with pytest.raises(UnitError, match="'ge // DeltaProj' gives nS, added to a sum in mV"):
        post.sum_delta_inputs(0.0 * u.mV)
    # What adds to a current or conductance of its own says so when it is made.
    ds.DeltaProj(comm=ds.nn.Linear(2, 2, weights * u.mA, None), post=ds.CubaLIF(2))
    with pytest.raises(UnitError, match="CubaLIF sums them up in mA"):
        ds.DeltaProj(comm=ds.nn.Linear(2, 2, weights * u.mV, None), post=ds.CubaLIF(2))


def test_an_sde_step_adds_noise_of_the_root_of_dt():
    with ds.environ.context(dt=MS):
        ds.random.seed(1)
        x = jnp.full(20_000, 2.0) * u.mV
        found = ds.nn.exp_euler_step(lambda x, k: -k * x / u.ms, lambda x, k: 3.0 * u.mV / u.ms**0.5, x, k=1.0)
        noise = (found - ds.nn.exp_euler_step(lambda x: -x / u.ms, x)).to_decimal(u.mV)
        assert noise.std() == pytest.approx(3.0 * 0.1**0.5, rel=0.02) and abs(noise.mean()) < 0.02
        with pytest.raises(UnitError, match="the diffusion of a quantity in mV must be in"):
            ds.nn.exp_euler_step(lambda x: -x / u.ms, lambda x: 1.0 * u.mV / u.ms, x)
        with pytest.raises(ParameterError, match="no x"):
            ds.nn.exp_euler_step(lambda x: x)


def test_an_sde_step_gives_the_numbers_of_brainstate():
    there = pytest.importorskip("brainstate")
    found = []
    for lib in (ds, there):
        lib.random.seed(3)
        with lib.environ.context(dt=MS):
            step = lib.nn.exp_euler_step(lambda x: -x / u.ms, lambda x: 2.0 * u.mV / u.ms**0.5, jnp.ones(5) * u.mV)
            found.append(step.to_decimal(u.mV))
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "relu_grad", "gaussian_grad", "leaky_relu", "q_pseudo_spike"])
def test_surrogates_at_python_floats_and_by_their_parameters(name):
    there = pytest.importorskip("braintools").surrogate

    def numbers(lib):
        spike = getattr(lib, name)
        first = {"sigmoid": 4.0, "relu_grad": 0.3, "gaussian_grad": 0.5, "leaky_relu": 0.1, "q_pseudo_spike": 2.0}[name]
        for x in (0.3, -0.2):
            yield spike(x), spike(x, first)
            yield jax.grad(spike)(x), jax.grad(lambda a, x=x: spike(x, a))(first)
            yield jax.grad(lambda a, x=x: jax.grad(lambda x: spike(x, a))(x))(first), jax.jit(lambda a, x=x: spike(x, a))(first)

    np.testing.assert_allclose(list(numbers(ds.surrogate)), list(numbers(there)), rtol=1e-5, atol=1e-7)
    with pytest.raises(ParameterError, match="must be above 0"):
        ds.surrogate.sigmoid(0.3, -1.0)


def test_a_delay_of_booleans_starts_from_a_boolean():
    with ds.environ.context(dt=MS):
        for init in (False, True, None):
            delay = ds.nn.init_all_states(ds.nn.Delay(jax.ShapeDtypeStruct((3,), bool), 1.0 * u.ms, init=init))
            assert delay.retrieve_at_step(4).dtype == bool
            assert (delay.retrieve_at_step(4) == bool(init)).all()
        delay.update(jnp.asarray([True, False, True]))
        assert delay.retrieve_at_step(0).tolist() == [True, False, True]


def test_keywords_of_sums_and_inputs():
    post = cell()
    post.add_current_input("in", inp=lambda: 3.0 * u.mA)
    post.add_delta_input("jump", inp=1.0 * u.mV, label="V")
    same(post.sum_current_inputs(init=1.0 * u.mA), 4.0 * u.mA)
    same(post.sum_delta_inputs(init=1.0 * u.mV, label="V"), 2.0 * u.mV)
    same(ds.CUBA().update(2.0 * u.mS), 2.0 * u.mA)


def test_a_value_is_a_constant_current_and_compiled_code_sees_the_new_one():
    post = cell()
    post.add_current_input("a", 2.0 * u.mA)
    same(post.current_inputs["a"], 2.0 * u.mA)
    step = ds.transform.jit(lambda: post.sum_current_inputs(0.0 * u.mA))
    for _ in range(2):
        same(post.sum_current_inputs(0.0 * u.mA), 2.0 * u.mA)
        same(step(), 2.0 * u.mA)
    same(ds.transform.for_loop(lambda i: post.sum_current_inputs(0.0 * u.mA), jnp.arange(3)), [2.0, 2.0, 2.0] * u.mA)
    post.add_current_input("a", 5.0 * u.mA)
    same(step(), 5.0 * u.mA)
    with pytest.raises(ParameterError, match="is taken"):
        post.add_current_input("a", lambda: 1.0 * u.mA)


def test_a_value_of_a_step_flows_in_that_step():
    post = cell()

    def step(i):
        post.add_current_input("now", i * u.mA)
        return post(0.0 * u.mA)

    same(ds.transform.for_loop(step, jnp.arange(1.0, 4.0)), np.repeat([[1.0], [3.0], [6.0]], 3, 1)[:, :] * u.mV)
    same(post.sum_current_inputs(0.0 * u.mA), 0.0 * u.mA)


def junction(lib, models, kind, one):
    with lib.environ.context(dt=MS):
        cells = [lib.nn.init_all_states(models.LIF(3)) for _ in range(2)]
        cells[0].V.value, cells[1].V.value = jnp.asarray([1.0, 2.0, 4.0]) * u.mV, jnp.asarray([5.0, 0.0, 1.0]) * u.mV
        ends = lambda pre, post: (jnp.asarray([0, 1]), jnp.asarray([1, 2]))  # noqa: E731
        if kind == "asymmetric":
            weight = jnp.asarray([0.1, 0.2]) * u.mS
            return models.AsymmetryGapJunction(cells[0], "V", cells[1], "V", ends, weight).update()
        return models.SymmetryGapJunction(cells[0] if one else tuple(cells), "V", ends, 0.1 * u.mS).update()


@pytest.mark.parametrize(("kind", "one", "wanted"), [
    ("symmetric", True, [-0.1, -0.2, 0.0]), ("symmetric", False, [0.1, 0.1, 0.0]), ("asymmetric", False, [0.2, 0.2, 0.0])
])  # fmt: skip
def test_a_gap_junction_returns_its_current(kind, one, wanted):
    same(junction(ds, ds, kind, one), wanted * u.uA, rtol=1e-5)
    there = pytest.importorskip("brainstate"), pytest.importorskip("brainpy.state")
    same(junction(*there, kind, one), wanted * u.uA, rtol=1e-5)


INITIALISERS = {
    "Normal": (0.0, 1.0), "Uniform": (1.0, 2.0), "LogNormal": (1.0, 0.5), "Exponential": (1.0,), "Gamma": (2.0, 1.0),
    "TruncatedNormal": (0.0, 1.0), "KaimingNormal": (), "XavierUniform": (), "Orthogonal": (), "Constant": (1.0,), "ZeroInit": (),
}  # fmt: skip


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialisers_draw_from_a_source_that_is_given(name):
    made = getattr(ds.init, name)(*INITIALISERS[name])
    one, again, other = (made((3, 4), rng=ds.random.RandomState(seed)) for seed in (1, 1, 2))
    assert (one == again).all() and ((one == other).all() == (name in ("Constant", "ZeroInit")))
    key = ds.random.get_key()
    made((3, 4), rng=ds.random.RandomState(1))
    assert (jax.random.key_data(ds.random.get_key()) == jax.random.key_data(key)).all()


def test_initialisers_by_keyword_give_the_numbers_of_braintools():
    braintools, brainstate = pytest.importorskip("braintools"), pytest.importorskip("brainstate")
    for name, given in (("Uniform", {"low": 1.0, "high": 2.0}), ("Normal", {"mean": 0.0, "std": 1.0})):
        mine = getattr(ds.init, name)(**given)(5, rng=ds.random.RandomState(4))
        theirs = getattr(braintools.init, name)(**given)(5, rng=brainstate.random.RandomState(4))
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize("bad", [
    lambda: ds.init.Normal(0, -1)(3), lambda: ds.init.Normal(0 * u.mV, -1 * u.mV), lambda: ds.init.Uniform(1, 0)(3),
    lambda: ds.init.Uniform(1 * u.volt, 2 * u.mV), lambda: ds.init.Constant(None),
])  # fmt: skip
def test_initialisers_refuse_what_they_cannot_mean(bad):
    with pytest.raises(ValueError):
        bad()


PARAM = [
    (None, 3, None, None), (2.0, 3, 2, 2.0), (2.0 * u.mV, 3, None, 2.0 * u.mV), (jnp.arange(3.0), (2, 3), None, jnp.arange(3.0)),
    (jnp.arange(3.0) * u.mV, 3, 2, jnp.tile(jnp.arange(3.0), (2, 1)) * u.mV), (jnp.ones((2, 3)), 3, 2, jnp.ones((2, 3))),
    (lambda shape: jnp.full(shape, 7.0), (3,), 2, jnp.full((2, 3), 7.0)),
]  # fmt: skip


@pytest.mark.parametrize(("given", "sizes", "batch", "wanted"), PARAM)
def test_param_gives_what_an_argument_means(given, sizes, batch, wanted):
    libs = [ds.init, pytest.importorskip("braintools").init]
    for lib in libs:
        found = lib.param(given, sizes, batch)
        assert (found is None) == (wanted is None)
        if wanted is not None:
            assert u.math.shape(found) == u.math.shape(wanted)
            same(found, wanted)


def test_param_takes_states_and_refuses_what_does_not_fit():
    state = ds.State(jnp.arange(3.0))
    assert ds.init.param(state, 3, 2) is state and state.value.shape == (2, 3)
    bad = [{"init": jnp.arange(4.0)}, {"init": None, "allow_none": False}, {"init": 1.0, "allow_scalar": False}, {"init": "x"}]
    for given in bad:
        with pytest.raises(ParameterError, match="init.param"):
            ds.init.param(sizes=3, **given)


def test_adam_takes_its_betas_one_by_one():
    def trained(lib, kind, **betas):
        w = kind(jnp.asarray([1.0, -2.0]))
        opt = lib.optim.Adam(lr=0.1, **betas)
        opt.register_trainable_weights({"w": w})
        for scale in (1.0, 3.0, -1.0):
            opt.update({"w": scale * jnp.asarray([0.5, 0.1])})
        return w.value

    there, kind = pytest.importorskip("braintools"), pytest.importorskip("brainstate").ParamState
    mine = trained(ds, ds.ParamState, beta1=0.5, beta2=0.9)
    np.testing.assert_allclose(mine, trained(there, kind, beta1=0.5, beta2=0.9), rtol=1e-5)
    np.testing.assert_allclose(mine, trained(ds, ds.ParamState, betas=(0.5, 0.9)), rtol=1e-6)


def test_an_optimizer_goes_on_from_what_it_remembers():
    def made(value):
        w = ds.ParamState(jnp.asarray(value))
        return w, ds.optim.Adam(ds.optim.StepLR(0.1, step_size=1, gamma=0.5)).register_trainable_weights({"w": w})

    w, opt = made([1.0, 2.0])
    grads = {"w": jnp.asarray([0.3, -0.2])}
    opt.update(grads)
    opt.lr.step_epoch()
    assert opt.lr.current_lrs.value[0] == pytest.approx(0.05) and list(opt.param_states.unique_states) == [w]
    again, other = made(w.value)
    other.load_state_dict(opt.state_dict())
    opt.update(grads)
    other.update(grads)
    assert (again.value == w.value).all() and other.step_count.value == 2
    with pytest.raises(ParameterError, match="there is no 'opt_state'"):
        other.load_state_dict({"step_count": 1})


def test_dynamics_run_what_was_added_before_and_after():
    post, seen = cell(), []
    post.add_before_update("first", lambda: seen.append("before"))
    post.add_after_update("last", lambda out: seen.append(out))
    post(1.0 * u.mA)
    assert seen[0] == "before" and len(seen) == 2
    assert post.has_after_update("last") and not post.has_before_update("last")
    assert post.get_before_update("first") is post.before_updates["first"]
    with pytest.raises(ParameterError, match="is taken"):
        post.add_before_update("first", lambda: None)
    with pytest.raises(ParameterError, match="there is none"):
        post.get_after_update("nothing")


def test_a_population_drives_synapses_that_are_aligned_with_it():
    with ds.environ.context(dt=MS):
        pre = ds.LIF(3)
        syn = pre.align_pre(ds.Expon.desc(tau=2.0 * u.ms, g_initializer=ds.init.Constant(0.0)))
        assert pre.align_pre(ds.Expon.desc(tau=2.0 * u.ms, g_initializer=ds.init.Constant(0.0))) is syn
        assert syn.in_size == (3,) and pre.align_pre(syn) is syn
        ds.nn.init_all_states(pre)
        out = pre(300.0 * u.mA)
        assert (out == 1.0).all() and (syn.g.value == 1.0).all()
        with pytest.raises(ParameterError, match="needs a synapse"):
            pre.align_pre(3)


def test_sequential_grows():
    net = ds.nn.Sequential(lambda x: x + 1)
    net.append(lambda x: x * 10)
    net.insert(1, lambda x: x + 2)
    net.extend([jnp.negative])
    assert net(0) == -30 and len(net) == 4
    with pytest.raises(ParameterError, match="layer 4"):
        net.append(3)
