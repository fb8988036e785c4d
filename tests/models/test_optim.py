"""Optimizers against optax, on States with units, on any mesh, in loops, from checkpoints.

Over 400 lines: the same few programs are asked of every rule and schedule.
"""

import inspect

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import dist_sim as ds
from dist_sim import optim
from dist_sim.core import graph, transform
from dist_sim.errors import ParameterError, UnitError

RULES = {
    optim.SGD: optax.sgd(0.1), optim.Momentum: optax.sgd(0.1, 0.9), optim.MomentumNesterov: optax.sgd(0.1, 0.9, nesterov=True),
    optim.Adam: optax.adam(0.1), optim.AdamW: optax.adamw(0.1, weight_decay=0.01), optim.Adamax: optax.adamax(0.1),
    optim.RAdam: optax.radam(0.1), optim.AdaBelief: optax.adabelief(0.1, eps=1e-16), optim.Yogi: optax.yogi(0.1),
    optim.Lamb: optax.lamb(0.1), optim.Lion: optax.lion(0.1, weight_decay=0.0),
    optim.Adagrad: optax.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-10), optim.Adadelta: optax.adadelta(0.1, eps=1e-6),
    optim.RMSprop: optax.rmsprop(0.1, decay=0.99), optim.LBFGS: optax.lbfgs(0.1, linesearch=None),
    optim.Adafactor: optax.adafactor(0.1, multiply_by_parameter_scale=False),
    optim.Lars: optax.lars(0.1, weight_decay=0.0, momentum=0.9, eps=1e-8),
}  # fmt: skip
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
START = np.array([[0.5, -1.5, 2.0], [1.0, 3.0, -0.2]], np.float32)


class Net(ds.Module):
    """The loss of `w` in mV and of two numbers without unit, in one State."""

    def __init__(self, columns=3):
        super().__init__()
        start = np.resize(START, (2, columns))
        self.w = ds.ParamState(jnp.asarray(start) * u.mV, axes=("neuron",))
        self.layers = [ds.nn.Linear(2, 3, w_init=START, b_init=ds.init.Constant(0.3))]

    def update(self, unit=u.mV):
        inner = self.layers[0].weight.value
        return ((self.w.value / unit) ** 4).sum() + (inner["weight"] ** 2).sum() + (inner["bias"] ** 2).sum()


def bare(net):
    return {"w": net.w.value.to_decimal(u.mV), "inner": dict(net.layers[0].weight.value)}


def bare_loss(p):
    return (p["w"] ** 4).sum() + (p["inner"]["weight"] ** 2).sum() + (p["inner"]["bias"] ** 2).sum()


def alike(one, other, rtol=1e-6):
    return all(np.allclose(a, b, rtol=rtol, atol=1e-7) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@every_rule
@pytest.mark.parametrize("unit_aware", [False, True])
def test_a_rule_is_that_of_optax_on_bare_numbers(rule, unit_aware):
    net = Net()
    weights = net.states(ds.ParamState)
    opt = rule(lr=0.1).register_trainable_weights(weights)
    tx, params = RULES[rule], bare(net)
    memory = tx.init(params)
    for n in range(1, 6):
        grads = transform.grad(net, weights, unit_aware=unit_aware)()
        assert u.get_unit(grads[("w",)]) == (1 / u.mV if unit_aware else u.mV)
        opt.update(grads)
        changes, memory = tx.update(jax.grad(bare_loss)(params), memory, params)
        params = optax.apply_updates(params, changes)
        assert alike(bare(net), params, rtol=1e-5), n
        assert opt.step_count.value == n
    assert not alike(bare(net), bare(Net()), rtol=1e-3)


@every_rule
def test_names_and_defaults_are_those_of_braintools(rule):
    reference = inspect.signature(getattr(pytest.importorskip("braintools").optim, rule.__name__).__init__)
    wanted = {name: p.default for name, p in reference.parameters.items()}
    assert {name: p.default for name, p in inspect.signature(rule.__init__).parameters.items()} == wanted


@pytest.mark.parametrize(
    ("name", "options"),
    [("Nadam", {}), ("Nadam", dict(momentum_decay=0.1, betas=(0.8, 0.95), weight_decay=0.02)), ("LBFGS", dict(memory_size=3))],
)
def test_a_rule_is_that_of_braintools(name, options):
    braintools = pytest.importorskip("braintools")
    import brainstate

    both = []
    for ParamState, lib in ((ds.ParamState, optim), (brainstate.ParamState, braintools.optim)):
        weights = {"w": ParamState(jnp.asarray(START))}
        opt = getattr(lib, name)(lr=0.1, **options)
        opt.register_trainable_weights(weights)
        for _ in range(5):
            opt.update({"w": 4 * weights["w"].value ** 3})
        both.append(weights["w"].value)
    assert alike(*both, rtol=1e-5) and not alike(both[0], START, rtol=0.1)


def test_adafactor_of_large_matrices_and_of_steps_relative_to_the_weights():
    start = np.random.default_rng(0).normal(size=(130, 140)).astype(np.float32)

    def trained(**options):
        weights = {"w": ds.ParamState(jnp.asarray(start))}
        opt = optim.Adafactor(**options).register_trainable_weights(weights)
        for _ in range(4):
            opt.update({"w": weights["w"].value ** 3})
        return weights["w"].value, opt

    for given, beta in ((dict(lr=0.1), None), (dict(lr=0.1, beta1=0.9, clip_threshold=0.5), 0.9)):
        tx = optax.chain(
            optax.scale_by_factored_rms(), optax.clip_by_block_rms(given.get("clip_threshold", 1.0)),
            optax.ema(beta, debias=False) if beta else optax.identity(), optax.scale(-0.1),
        )  # fmt: skip
        wanted, memory = jnp.asarray(start), tx.init(jnp.asarray(start))
        for _ in range(4):
            changes, memory = tx.update(wanted**3, memory, wanted)
            wanted = wanted + changes
        found, opt = trained(**given)
        assert alike(found, wanted, rtol=1e-5)
        assert max(state.value.size for state in opt.memory.values()) <= (140 if beta is None else start.size)
    relative, _ = trained()
    change = np.sqrt(np.mean((np.asarray(relative) - start) ** 2)) / np.sqrt(np.mean(start**2))
    assert 0.02 < change <= 0.0401


@pytest.mark.parametrize("linesearch", ["zoom", "backtracking"])
def test_lbfgs_searches_along_the_line(linesearch):
    net = Net()
    weights = net.states(ds.ParamState)
    opt = optim.LBFGS(linesearch=linesearch).register_trainable_weights(weights)

    def loss_of(values):
        return ((values[("w",)] / u.mV) ** 4).sum() + sum((x**2).sum() for x in values[("layers", 0, "weight")].values())

    @transform.jit
    def step():
        grads, loss = transform.grad(net, weights, return_value=True)()
        opt.update(grads, value=loss, value_fn=loss_of)
        return loss

    losses = [step() for _ in range(12)]
    assert losses[-1] < 1e-2 * losses[0] and (np.diff(losses) <= 1e-6).all()
    with pytest.raises(ParameterError, match="needs the loss"):
        opt.update(transform.grad(net, weights)())
    with pytest.raises(ParameterError, match="allowed are 'zoom'"):
        optim.LBFGS(linesearch="golden")


def test_what_an_optimizer_remembers_is_handed_to_another():
    def make():
        net = Net()
        return net, optim.Adam(optim.StepLR(0.1, 2)).register_trainable_weights(net.states(ds.ParamState))

    def step(net, opt, times):
        for _ in range(times):
            opt.update(transform.grad(net, net.states(ds.ParamState))())
            opt.lr.step_epoch()

    (net, opt), (other, later) = make(), make()
    step(net, opt, 3)
    saved = jax.tree.map(np.asarray, opt.state_dict())
    assert saved["step_count"] == 3 and np.isclose(saved["lr"], 0.01) and saved["base_lr"] == 0.1
    assert opt.lr.current_lrs.value == opt.lr.get_lr() and np.isclose(opt.lr.current_lrs.value[0], 0.01)
    for path, state in net.states().items():
        other.states()[path].value = state.value
    later.load_state_dict(saved)
    step(net, opt, 2)
    step(other, later, 2)
    assert alike(bare(net), bare(other)) and later.current_lr == opt.current_lr
    with pytest.raises(ParameterError, match="opt_state and this optimizer differ in"):
        optim.SGD().register_trainable_weights(Net().states(ds.ParamState)).load_state_dict(saved)
    with pytest.raises(ParameterError, match="there is no 'opt_state'"):
        later.load_state_dict({"step_count": 0})


def test_the_states_of_a_tree_each_once():
    braintools = pytest.importorskip("braintools")
    import brainstate

    both = []
    for State, lib in ((ds.ParamState, optim), (brainstate.ParamState, braintools.optim)):
        manager = lib.UniqueStateManager
        a, b, c, d = (State(jnp.ones(n + 1)) for n in range(4))
        found = manager({"x": {"a": a, "b": b}, "y": [a, c]})
        assert found.to_pytree() == {"x": {"a": a, "b": b}, "y": {1: c}}
        path = found.unique_paths[1]
        assert found.get_state_by_path(path) is b and found.update_state(path, d) and found.get_state_by_path(path) is d
        found = manager().merge_with([a, {"k": b}]).merge_with([a])
        both.append((found.to_dict().keys(), jax.tree.map(np.shape, found.to_dict_value()), len(found), found.num_unique_states))
    assert both[0] == both[1]
    net = Net()
    opt = optim.SGD()
    assert len(opt.param_states) == 0
    opt.register_trainable_weights(net.states(ds.ParamState))
    assert {*map(id, opt.param_states.unique_states)} == {*map(id, net.states(ds.ParamState).values())}


def test_a_loop_of_updates_is_the_updates_one_by_one():
    def trained(step):
        net = Net()
        weights = net.states(ds.ParamState)
        opt = optim.Adam(optim.StepLR(0.1, step_size=3)).register_trainable_weights(weights)

        def once():
            grads, loss = transform.grad(net, weights, return_value=True)()
            opt.update(grads)
            opt.lr.step()
            return loss

        return step(once), bare(net), {k: s.value for k, s in opt.memory.items()}, opt.lr.last_epoch.value

    eager = trained(lambda once: np.array([once() for _ in range(7)]))
    assert eager[-1] == 7
    for step in (
        lambda once: transform.for_loop(once, length=7),
        lambda once: transform.jit(lambda: transform.for_loop(once, length=7))(),
        lambda once: (lambda jitted: np.array([jitted() for _ in range(7)]))(transform.jit(once)),
    ):
        assert alike(trained(step), eager, rtol=1e-5)


@pytest.mark.parametrize("columns", [3, 512])
@pytest.mark.parametrize("shape", [{"neuron": 2}, {"batch": 2, "neuron": 4}], ids=str)
def test_memory_lies_as_its_weights_and_placement_changes_no_bit(columns, shape):
    def trained():
        net = Net(columns)
        weights = net.states(ds.ParamState)
        opt = optim.AdamW(grad_clip_norm=3.0).register_trainable_weights(weights)
        transform.jit(lambda: transform.for_loop(lambda: opt.update(transform.grad(net, weights)()), length=5))()
        return net, opt

    with ds.use_mesh(devices=1):
        net, opt = trained()
    with ds.use_mesh(shape=shape):
        there, opt_there = trained()
    assert jax.tree.all(jax.tree.map(np.array_equal, bare(net), bare(there)))
    for key, state in opt_there.memory.items():
        assert np.array_equal(state.value, opt.memory[key].value), key
        if "['w']" in key:
            assert state.sharding == there.w.sharding == u.get_mantissa(there.w.value).sharding
            assert state.value.sharding.shard_shape(state.value.shape)[1] == (
                columns if columns == 3 else columns // shape["neuron"]
            )
        else:
            assert state.value.sharding.is_fully_replicated
    assert sum("['w']" in key for key in opt_there.memory) == 2


def test_training_goes_on_from_a_checkpoint(tmp_path):
    def make():
        net = Net(512)
        weights = net.states(ds.ParamState)
        return {"net": net, "opt": optim.Adam(0.1, grad_clip_value=2.0).register_trainable_weights(weights)}, weights

    def steps(model, weights, n):
        for _ in range(n):
            model["opt"].update(transform.grad(model["net"], weights)())

    class Both(ds.Module):
        def __init__(self, parts):
            super().__init__()
            self.parts = parts

    with ds.use_mesh(devices=2):
        model, weights = make()
    steps(model, weights, 3)
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "tree", graph.treefy_states(Both(model)))
        saver.wait_until_finished()
        steps(model, weights, 3)
        with ds.use_mesh(devices=4):
            other, other_weights = make()
        graph.update_states(Both(other), saver.restore(tmp_path / "tree", graph.treefy_states(Both(other))))
    assert other["opt"].step_count.value == 3
    steps(other, other_weights, 3)
    assert jax.tree.all(jax.tree.map(np.array_equal, bare(model["net"]), bare(other["net"])))


def test_the_unit_of_a_weight_scales_nothing_but_itself():
    # The same weights in volt: a gradient per volt means the same as one per millivolt.
    def trained(unit, unit_aware):
        w = ds.ParamState((jnp.asarray(START) * u.mV).in_unit(u.mV))
        opt = optim.SGD(1e-3).register_trainable_weights({"w": w})
        g = transform.grad(lambda: ((w.value / u.mV) ** 2).sum(), {"w": w}, unit_aware=unit_aware)()
        opt.update({"w": g["w"].in_unit(unit)})
        return w.value.to_decimal(u.mV)

    assert np.allclose(trained((1 / u.volt).unit, True), START * (1 - 2e-3), rtol=1e-6)
    assert np.allclose(trained(u.volt, False), START * (1 - 2e-3), rtol=1e-6)


def test_gradients_of_a_loss_with_a_unit():
    # A loss in mA: a weight in mS, one without unit; the gradients are in mA / mS and mA.
    a, b = ds.ParamState(2.0 * u.mS), ds.ParamState(1.5)
    grads = transform.grad(lambda: a.value * 3.0 * u.volt + b.value * 2.0 * u.mA, {"a": a, "b": b}, unit_aware=True)()
    optim.SGD(0.1).register_trainable_weights({"a": a, "b": b}).update(grads)
    assert np.isclose(a.value.to_decimal(u.mS), 2.0 - 0.3) and np.isclose(b.value, 1.5 - 0.2)


def test_norms_and_values_of_gradients_are_limited():
    def moved(**limits):
        w = ds.ParamState(jnp.zeros(2) * u.nA)
        optim.SGD(1.0, **limits).register_trainable_weights(w).update(jnp.array([3.0, -4.0]) * u.nA)
        return w.value.to_decimal(u.nA).tolist()

    assert np.allclose(moved(), [-3, 4]) and np.allclose(moved(grad_clip_norm=0.5), [-0.3, 0.4])
    assert np.allclose(moved(grad_clip_value=3.5), [-3, 3.5]) and np.allclose(
        moved(grad_clip_norm=2.5, grad_clip_value=1.0), [-1, 1]
    )


def test_any_rule_of_optax():
    w = ds.ParamState(jnp.array([3.0, -1.0]) * u.mV)
    opt = optim.OptaxOptimizer(optax.lbfgs(linesearch=None, learning_rate=1.0)).register_trainable_weights({"w": w})

    def loss():
        return ((w.value / u.mV - jnp.array([1.0, 2.0])) ** 2 * jnp.array([1.0, 30.0])).sum()

    step = transform.jit(lambda: opt.update(transform.grad(loss, {"w": w})()))
    for _ in range(40):
        step()
    assert np.allclose(w.value.to_decimal(u.mV), [1, 2], rtol=1e-3)
    assert [s.value.shape for k, s in opt.memory.items() if "diff_params" in k] == [(10, 2)]


BAD = [
    (lambda w: optim.SGD(-1.0), ParameterError, r"SGD\(lr=...\): needs a finite number of at least 0, without unit; got -1.0"),
    (lambda w: optim.Adam(1e-3 * u.mV), ParameterError, "without unit"),
    (lambda w: optim.Adam(weight_decay=-1), ParameterError, "weight_decay"),
    (lambda w: optim.Adam(grad_clip_norm=0.0), ParameterError, "above 0"),
    (lambda w: optim.OptaxOptimizer("adam"), ParameterError, "GradientTransformation"),
    (lambda w: optim.OptaxOptimizer(optax.sgd(1.0), lr=0.1), ParameterError, "its own learning rate"),
    (lambda w: optim.SGD().register_trainable_weights({}), ParameterError, "no State to train"),
    (lambda w: optim.SGD().register_trainable_weights({"a": w, "b": w}), ParameterError, "there twice"),
    (lambda w: optim.SGD().register_trainable_weights({"a": w.value}), ParameterError, "no State"),
    (lambda w: optim.SGD().register_trainable_weights(ds.State(jnp.arange(3))), ParameterError, "floats are trained"),
    (lambda w: optim.SGD().register_trainable_weights(w).register_trainable_weights(w), ParameterError, "already"),
    (lambda w: optim.SGD().update({}), ParameterError, "no weights yet"),
    (lambda w: optim.SGD().register_trainable_weights({"a": w}).update({"b": w.value}), ParameterError, "not structured as"),
    (lambda w: optim.SGD().register_trainable_weights(w).update(jnp.ones(2) * u.mV), ParameterError, "needs \\[\\(3,\\)\\]"),
    (
        lambda w: optim.SGD().register_trainable_weights([w, ds.State(1.0)]).update([jnp.ones(3) * u.ms, 1.0]),
        UnitError, "the gradient of 1 is in 1. With a loss in",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(ds.ParamState(jnp.ones(3) * u.mV))


# Schedules: against those of PyTorch, as far as braintools follows them.

SCHEDULES = {
    "ConstantLR": {"base_lr": 0.3}, "LinearLR": {"total_iters": 7}, "WarmupScheduler": {"warmup_epochs": 4},
    "StepLR": {"step_size": 4, "gamma": 0.5}, "MultiStepLR": {"milestones": [3, 9], "gamma": 0.5}, "ExponentialLR": {},
    "PiecewiseConstantSchedule": {"boundaries": [3, 7], "values": [1.0, 0.1, 0.01]},
    "ExponentialDecayLR": {"decay_steps": 3, "decay_rate": 0.7, "transition_begin": 2, "end_value": 4e-4},
    "PolynomialLR": {"total_iters": 9, "power": 2.0}, "CosineAnnealingLR": {"T_max": 9, "eta_min": 1e-4},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2, "eta_min": 1e-4},
    "WarmupCosineSchedule": {"warmup_steps": 3, "total_steps": 11}, "OneCycleLR": {"total_steps": 12},
    "CyclicLR": {"step_size_up": 3, "mode": "triangular2"},
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_that_of_braintools(name):
    reference = getattr(pytest.importorskip("braintools").optim, name)(**SCHEDULES[name])
    own = getattr(optim, name)(**SCHEDULES[name])

    def step():
        own.step()
        return own.rate()

    found = [own.rate(), *transform.for_loop(step, length=14)]
    wanted = [reference.get_lr()[0]]
    for _ in range(14):
        reference.step()
        wanted.append(reference.get_lr()[0])
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-9) and len({float(x) for x in found}) > 1


def test_cycles_of_unequal_halves_reach_both_ends():
    own = optim.CyclicLR(0.1, 0.9, step_size_up=2, step_size_down=4)
    assert np.allclose([own.rate_at(n) for n in range(8)], [0.1, 0.5, 0.9, 0.7, 0.5, 0.3, 0.1, 0.5])


def test_schedules_are_put_together():
    both = optim.ChainedScheduler([optim.WarmupScheduler(0.2, warmup_epochs=2), optim.ExponentialLR(0.2, gamma=0.5)])
    assert np.allclose([both.rate_at(n) for n in range(4)], [0, 0.05, 0.05, 0.025])
    after = optim.SequentialLR([optim.WarmupScheduler(0.2, warmup_epochs=2), optim.ExponentialLR(0.4, gamma=0.5)], [3])
    assert np.allclose([after.rate_at(n) for n in range(6)], [0, 0.1, 0.2, 0.4, 0.2, 0.1])


@pytest.mark.parametrize("options", [{}, {"mode": "max", "threshold_mode": "abs"}, {"cooldown": 2, "min_lr": 3e-4}], ids=str)
def test_a_plateau_is_that_of_braintools(options):
    options = {"patience": 2, "factor": 0.5} | options
    reference = pytest.importorskip("braintools").optim.ReduceLROnPlateau(**options)
    own = optim.ReduceLROnPlateau(**options)
    losses = [3.0, 2.0, 2.1, 2.2, 2.0, 2.3, 2.1, 1.5, 1.6, 1.7, 1.8, 1.9, 1.7, 1.6, 1.9, 1.9, 1.9]
    found = transform.for_loop(lambda x: (own.step(x), own.rate())[1], jnp.array(losses))
    wanted = []
    for loss in losses:
        reference.step(loss)
        wanted.append(reference.get_lr()[0])
    assert np.allclose(found, wanted, rtol=1e-6) and found[-1] < found[0]
