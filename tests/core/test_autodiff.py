"""Derivatives by States: the same numbers and structure as of a pure function, and what is written is kept once.

Over 400 lines: grad, jacobian, hessian and their options are asked of the same functions.
"""

import functools
import itertools

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, Module, ParamState, State, transform
from dist_sim.errors import CompiledError, ParameterError, TraceContextError, UnitError

W, B, X, Y = jnp.array([1.0, -2.0, 3.0]), jnp.array([0.5, 0.25, 2.0]), jnp.array([2.0, 1.0, -1.0]), jnp.float32(1.5)


class Model(Module):
    """A loss with every way to use a State: read, written then read, written before reading, counted."""

    def __init__(self, place=None):
        super().__init__()
        self.w = ParamState(W, sharding=place)
        self.b = ParamState(B, sharding=place)
        self.h = HiddenState(jnp.ones(3), sharding=place)
        self.count = State(0)
        self.calls = 0

    def update(self, x=X, y=Y):
        self.calls += 1
        self.h.value = self.h.value * self.w.value + x
        self.count.value = self.count.value + 1
        self.b.value = self.b.value * y
        return jnp.sum(jnp.tanh(self.h.value) * self.b.value)

    def with_aux(self, x=X, y=Y):
        return self(x, y), {"h": self.h.value, "x": x}


def pure(w, b, x=X, y=Y, h=1.0):
    h = h * w + x
    return jnp.sum(jnp.tanh(h) * b * y)


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def mesh():
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    return Mesh(np.array(jax.devices()[:8]).reshape(2, 4), ("batch", "neuron"), axis_types=(AxisType.Auto,) * 2)


def same(a, b, tolerance=1e-6):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


# structure

COLLECTIONS = {
    "none": lambda w, b: None,
    "state": lambda w, b: w,
    "list": lambda w, b: [b, w],
    "dict": lambda w, b: {"w": w, "b": b},
}


@pytest.mark.parametrize("collection", COLLECTIONS.values(), ids=COLLECTIONS)
@pytest.mark.parametrize("argnums", [None, 0, (1, 0)], ids=str)
def test_structure_and_numbers_are_those_of_the_reference(collection, argnums):
    for has_aux, return_value in itertools.product([False, True], repeat=2):
        found = []
        for library, kinds in (
            (transform, (ParamState, State)),
            (brainstate.transform, (brainstate.ParamState, brainstate.State)),
        ):
            w, b, count = kinds[0](W), kinds[0](B), kinds[1](jnp.int32(0))

            def loss(x, y, w=w, b=b, count=count, has_aux=has_aux):
                count.value = count.value + 1
                out = pure(w.value, b.value, x, y)
                return (out, {"x": x, "n": count.value}) if has_aux else out

            call = library.grad(loss, collection(w, b), argnums, has_aux=has_aux, return_value=return_value)
            found.append(call(X, Y))
            assert count.value == 1
        same(*found)


@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
def test_gradients_are_those_of_the_pure_function(model, jitted):
    @transform.grad(grad_states=model.states(ParamState), argnums=(0, 1), has_aux=True, return_value=True)
    def loss(x, y):
        return model.with_aux(x, y)

    (by_state, by_arg), value, aux = transform.jit(loss)(X, Y) if jitted else loss(X, Y)
    expected, (w, b, x, y) = jax.value_and_grad(pure, (0, 1, 2, 3))(W, B, X, Y)
    same(by_state, {("w",): w, ("b",): b})
    same((by_arg, value), ((x, y), expected))
    # Written once, by the one call of the function, and with numbers in them.
    assert model.count.value == 1 and model.calls == 1
    same((model.h.value, model.b.value, aux), (W + X, B * Y, {"h": W + X, "x": X}))


def test_as_a_decorator_with_keywords_and_anything_as_argument(model):
    @transform.grad(grad_states=model.w)
    def loss(which, *, scale):
        return scale * getattr(model, which).value.sum()

    assert loss("w", scale=2.0).tolist() == [2, 2, 2]

    class Trainer(Module):
        @transform.grad(argnums=1)
        def slope(self, x):
            return x**3

    assert Trainer().slope(2.0) == 12
    assert transform.grad(lambda x: x**2)(3.0) == 6
    same(transform.grad(model, model.w)(x=X), jax.grad(pure)(W, B))


@pytest.mark.parametrize("empty", [{}, [], ()], ids=str)
def test_an_empty_collection_gives_an_empty_collection(model, empty):
    assert transform.grad(model, empty)() == empty
    grads, value, aux = transform.grad(model.with_aux, empty, has_aux=True, return_value=True)()
    assert grads == empty and value.shape == () and aux["h"].shape == (3,) and model.count.value == 2
    assert transform.grad(lambda x: x**2, empty, argnums=0)(3.0) == (empty, 6)
    for other in (transform.jacrev, transform.jacfwd, transform.hessian, transform.vector_grad):
        assert other(model, empty)() == empty


def test_the_same_state_twice_and_nested_collections(model):
    w, b = jax.grad(pure, (0, 1))(W, B)
    same(transform.grad(model, {"a": [model.w, model.w], "b": {"c": model.b}})(), {"a": [w, w], "b": {"c": b}})


# writes


def test_a_state_is_differentiated_at_its_entry_value():
    w, gone = ParamState(3.0), ParamState(5.0)

    def loss():
        w.value = w.value**2
        gone.value = jnp.float32(7.0)
        return w.value**2 + gone.value

    assert transform.grad(loss, [w, gone])() == [4 * 27, 0]
    assert (w.value, gone.value) == (9, 7)


def test_an_error_inside_leaves_the_states_as_they_were(model):
    before = model.h.value

    def loss():
        model()
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        transform.grad(loss, model.w)()
    with pytest.raises(ParameterError, match="scalar"):
        transform.grad(lambda: model() * X, model.w)()
    assert model.h.value is before and model.count.value == 0


def test_eager_gradients_may_branch_on_values(model):
    def loss():
        return (model.w.value**2).sum() if model.w.value[0] > 0 else model.w.value.sum()

    same(transform.grad(loss, model.w)(), 2 * W)


def test_raw_jax_grad_is_still_refused(model):
    with pytest.raises(TraceContextError):
        jax.grad(model)(X)


# composition


def unrolled(w, steps):
    h = jnp.ones(3)
    for _ in range(steps):
        h = jnp.tanh(h * w + X)
    return h.sum()


class Recurrent(Module):
    def __init__(self, place=None):
        super().__init__()
        self.w, self.h = ParamState(W, sharding=place), HiddenState(jnp.ones(3), sharding=place)

    def update(self):
        self.h.value = jnp.tanh(self.h.value * self.w.value + X)
        return self.h.value.sum()


BPTT = {
    "for_loop": lambda net: lambda: transform.for_loop(net, length=5)[-1],
    "python loop": lambda net: lambda: [net() for _ in range(5)][-1],
    "jit inside": lambda net: lambda: transform.jit(lambda: transform.for_loop(net, length=5))()[-1],
    "remat step": lambda net: lambda: transform.for_loop(transform.remat(net), length=5)[-1],
    "remat": lambda net: transform.remat(lambda: transform.for_loop(net, length=5)[-1]),
    "cond": lambda net: lambda: transform.cond(True, lambda: transform.for_loop(net, length=5)[-1], lambda: 0.0),
    "checkpointed": lambda net: lambda: transform.checkpointed_for_loop(net, length=5, base=2)[-1],
}


@pytest.mark.parametrize("loss", BPTT.values(), ids=BPTT)
def test_backpropagation_through_time(loss):
    expected = jax.grad(unrolled)(W, 5)
    for around in (lambda f: f, transform.jit):
        net = Recurrent()
        same(around(transform.grad(loss(net), net.w))(), expected)
        assert np.isclose(net.h.value.sum(), unrolled(W, 5))


def test_grad_inside_other_transforms():
    expected = jax.grad(unrolled)(W, 1)

    def step(net):
        return transform.grad(net, net.w)()

    for around in (
        lambda net: transform.for_loop(lambda: step(net), length=2)[0],
        lambda net: transform.cond(True, lambda: step(net), lambda: jnp.zeros(3)),
        lambda net: transform.jit(lambda: transform.for_loop(lambda: step(net), length=2))()[0],
    ):
        same(around(Recurrent()), expected)


def test_gradient_descent_inside_a_compiled_loop():
    w = ParamState(jnp.array([3.0, -4.0]) * u.mV)

    def step():
        grads, loss = transform.grad(lambda: ((w.value / u.mV) ** 2).sum(), w, return_value=True)()
        w.value = w.value - 0.1 * grads
        return loss

    losses = transform.jit(lambda: transform.for_loop(step, length=50))()
    np.testing.assert_allclose(losses, 25 * 0.64 ** np.arange(50), rtol=1e-4)


def test_gradient_of_a_gradient():
    w = ParamState(2.0)
    count = State(0)

    def cube():
        count.value = count.value + 1
        return w.value**3

    second = transform.grad(transform.grad(cube, w), w)
    third = transform.grad(second, w)
    assert (second(), third(), transform.jit(third)()) == (12, 6, 6)
    assert count.value == 3
    # By an argument of a gradient by a State, and through a loop.
    mixed = transform.grad(lambda x: transform.grad(lambda: x**2 * w.value**2, w)())
    assert mixed(3.0) == 24
    through = transform.grad(lambda: transform.for_loop(lambda x: transform.grad(cube, w)() * x, jnp.arange(3.0)).sum(), w)
    assert through() == 36


def test_gradients_flow_through_states_and_straight_through_custom_rules():
    @jax.custom_vjp
    def spike(v):
        return (v > 0).astype(v.dtype)

    spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g / (1 + v**2),))
    w, v = ParamState(W), HiddenState(jnp.zeros(3))

    def step(x):
        v.value = 0.5 * v.value + w.value * x
        return spike(v.value)

    expected = jax.grad(lambda w: spike(w).sum() + spike(1.5 * w).sum())(W)
    same(transform.grad(lambda: transform.for_loop(step, jnp.ones(2)).sum(), w)(), expected)


# units


def test_units_of_gradients():
    v, i = ParamState(jnp.array([1.0, 2.0]) * u.mV), ParamState(3.0 * u.nA)

    def power():
        return (v.value * i.value).sum()

    def bare():
        return ((v.value / u.mV) ** 2).sum()

    grads = transform.grad(bare, v)()
    assert u.get_unit(grads) == u.mV and (grads == jnp.array([2.0, 4.0]) * u.mV).all()
    v.value = v.value - 0.5 * grads  # fits the slot
    v.value = jnp.array([1.0, 2.0]) * u.mV
    for g in (transform.grad, transform.vector_grad, transform.jacrev, transform.jacfwd):
        (by_v, by_i), value = transform.jit(g(power, [v, i], unit_aware=True, return_value=True))()
        assert (by_v == 3 * u.nA).all() and by_i == 3 * u.mV and value == 9 * u.mV * u.nA
        with pytest.raises(UnitError, match="needs unit_aware=True"):
            g(power, [v, i])()
    # The same numbers whatever the unit is spelled as; none where there is none.
    assert transform.grad(lambda: i.value / (1 * u.nA), i, unit_aware=True)() == 1 / u.nA
    ratio = transform.grad(lambda: i.value * 2, i, unit_aware=True)()
    assert ratio == 2 and not isinstance(ratio, u.Quantity)
    hessian = transform.jit(transform.hessian(lambda: (v.value**2 * i.value).sum(), {"v": v, "i": i}, unit_aware=True))()
    assert (hessian["v"]["v"] == 6 * jnp.eye(2) * u.nA).all() and (hessian["v"]["i"] == jnp.array([2.0, 4.0]) * u.mV).all()


def test_a_loss_with_a_unit_leaves_the_states_as_they_were():
    v = ParamState(1.0 * u.mV)

    def loss():
        v.value = v.value * 2
        return v.value

    with pytest.raises(UnitError, match="in mV"):
        transform.grad(loss, v)()
    assert v.value == 1 * u.mV


def test_loss_with_the_unit_of_nothing_counts_as_bare():
    v = ParamState(2.0 * u.mV)
    assert transform.grad(lambda: u.Quantity((v.value / u.mV) ** 2), v)() == 4 * u.mV


# refusals

REFUSED = {
    "untouched": (lambda m: transform.grad(m, m.unused), ParameterError, "does not touch ParamState 'Odd.unused'"),
    "integer": (lambda m: transform.grad(m, m.count), ParameterError, r"State 'Odd.count' is int32\[\]"),
    "key": (lambda m: transform.grad(m, m.key), ParameterError, r"State 'Odd.key' is key<fry>\[\]"),
    "shape": (lambda m: transform.grad(lambda: m.w.value, m.w), ParameterError, r"returns float32\[3\], and must return one"),
    "several": (lambda m: transform.hessian(lambda: (m(), m()), m.w), ParameterError, "and must return one number"),
    "no pair": (lambda m: transform.grad(m, m.w, has_aux=True), ParameterError, "must return a pair"),
    "argnums": (lambda m: transform.grad(m, argnums=2), ParameterError, "called with 0 positional arguments"),
    "int argument": (lambda m: lambda: transform.grad(lambda x: x * 1.0)(3), ParameterError, "argument 0 is Python int"),
    "no State": (lambda m: transform.grad(m, [m.w.value]), TypeError, "only States"),
    "State returned": (lambda m: transform.grad(lambda: m.w, m.w), TypeError, "Return its .value"),
    "nothing": (lambda m: lambda: transform.vjp(m), ParameterError, "nothing to pull back to"),
    "cotangent": (lambda m: lambda: transform.vjp(m, grad_states=m.w)[1](1.0 * u.mV), UnitError, "got float32\\[\\] mV|mV"),
}


@pytest.mark.parametrize(("make", "error", "match"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_differentiated_is_refused_by_name(make, error, match):
    class Odd(Model):
        def __init__(self):
            super().__init__()
            self.unused, self.key = ParamState(1.0), State(jax.random.key(0))

        def update(self):
            return super().update() + jax.random.uniform(self.key.value)

    with pytest.raises(error, match=match):
        make(Odd())()


def test_untouched_states_have_gradients_of_zero_when_asked(model):
    unused = ParamState({"a": jnp.ones(2) * u.mV})
    by_w, by_unused = transform.grad(model, [model.w, unused], check_states=False)()
    same(by_w, jax.grad(pure)(W, B))
    assert (by_unused["a"] == jnp.zeros(2) * u.mV).all()


def test_integers_where_they_are_allowed():
    n = State(3)
    assert transform.grad(lambda: 2.0 * n.value, n, allow_int=True)().dtype == jax.dtypes.float0
    z = ParamState(1.0 + 2.0j)
    assert transform.grad(lambda: z.value**2, z, holomorphic=True)() == 2 + 4j


# other derivatives


def test_vector_grad(model):
    def elementwise(x):
        model.count.value = model.count.value + 1
        return jnp.sin(model.w.value) * x

    (by_w, by_x), value = transform.vector_grad(elementwise, model.w, 0, return_value=True)(X)
    same((by_w, by_x, value), (jnp.cos(W) * X, jnp.sin(W), jnp.sin(W) * X))
    assert model.count.value == 1
    same(transform.vector_grad(lambda x, y: {"a": x * y, "b": x}, argnums=(0, 1))(X, B), (B + 1, X))


@pytest.mark.parametrize("jacobian", [transform.jacrev, transform.jacfwd])
def test_jacobians(model, jacobian):
    def f(w, b, x):
        return {"outer": jnp.outer(w, b)[:2], "sum": (w * x).sum()}

    def g(x):
        model.count.value = model.count.value + 1
        model.h.value = model.w.value * x
        return {"outer": jnp.outer(model.w.value, model.b.value)[:2], "sum": model.h.value.sum()}, model.h.value

    derive = jacobian(g, {"w": model.w, "b": model.b}, argnums=0, has_aux=True, return_value=True)
    found, value, aux = derive(X) if jacobian is transform.jacfwd else transform.jit(derive)(X)
    w, b, x = (jax.jacrev(f, n)(W, B, X) for n in range(3))
    same(found, {key: ({"w": w[key], "b": b[key]}, x[key]) for key in ("outer", "sum")})
    same((value, aux), (f(W, B, X), W * X))
    assert model.count.value == 1 and (model.h.value == W * X).all() and transform.jacobian is transform.jacrev


def test_hessian(model):
    for around in (lambda f: f, transform.jit):
        fresh = Model()
        found, value = around(transform.hessian(fresh, [fresh.w, fresh.b], return_value=True))()
        same(found, [list(row) for row in jax.hessian(pure, (0, 1))(W, B)])
        same(value, pure(W, B))
        assert fresh.count.value == 1 and fresh.calls == 1
    (rows, _) = transform.jit(transform.hessian(lambda x: (x * model.w.value**2).sum(), model.w, 0))(X)
    same(rows, (jnp.diag(2 * X), jnp.diag(2 * W)))


def test_vjp(model):
    value, pull, aux = transform.vjp(model.with_aux, X, Y, grad_states=[model.w], argnums=(1,), has_aux=True)
    expected, pure_pull = jax.vjp(pure, W, B, X, Y)
    w, _, _, y = pure_pull(jnp.float32(2.0))
    same((value, pull(2.0), aux["x"]), (expected, ([w], (y,)), X))
    assert model.count.value == 1
    assert transform.vjp(lambda x: x**2, 3.0)[1](1.0) == 6
    v = ParamState(2.0 * u.mV)
    value, pull = transform.vjp(lambda: v.value * (3.0 * u.nA), grad_states=v)
    assert value == 6 * u.mV * u.nA and pull(1.0) == pull(1.0 * u.mV * u.nA) == 3 * u.mV


def test_jvp(model):
    tangents = jnp.ones(3), jnp.float32(0.0)
    value, tangent, aux = transform.jvp(model.with_aux, (X, Y), tangents, has_aux=True)
    same((value, tangent), jax.jvp(lambda x, y: pure(W, B, x, y), (X, Y), tangents))
    same(aux["h"], model.h.value)
    assert model.count.value == 1
    value, tangent = transform.jvp(lambda v: v**2, (3.0 * u.mV,), (1.0 * u.mV,))
    assert value == 9 * u.mV**2 and tangent == 6 * u.mV**2


def test_remat_keeps_states_and_computes_again(model):
    @transform.remat(static_argnums=1)
    def step(x, kind, *, y):
        assert kind == "static"
        return model(x, y)

    gradient = transform.grad(lambda: step(X, "static", y=Y), [model.w, model.b])
    same(gradient(), list(jax.grad(pure, (0, 1))(W, B)))
    assert model.count.value == 1 and model.calls == 1
    w = ParamState(1.0)

    def sines(around):
        f = around(lambda: jnp.sin(jnp.sin(jnp.sin(w.value))))
        return transform.jit(transform.grad(f, w, return_value=True)).lower().as_text().count("stablehlo.sine")

    assert sines(lambda f: f) == sines(transform.remat(policy=jax.checkpoint_policies.everything_saveable)) == 3
    assert sines(transform.remat) == sines(transform.checkpoint) == 5


@pytest.mark.parametrize("loop", [transform.for_loop, transform.checkpointed_for_loop])
@pytest.mark.parametrize("sines", [1, 9])
def test_of_a_step_a_gradient_keeps_its_results_and_products(loop, sines):
    w, h = ParamState(jnp.full((8, 8), 0.1)), State(jnp.ones(8))

    def step():
        h.value = functools.reduce(lambda x, _: jnp.sin(x), range(sines), h.value @ w.value)
        return h.value**2

    program, _ = transform.make_jaxpr(transform.grad(lambda: loop(step, length=5).sum(), w))()
    stacked = [v for eqn in program.eqns if eqn.primitive.name == "scan" for v in eqn.outvars if v.aval.shape == (5, 8)]
    # The State before and after, and the product; what is returned is of the same shape.
    assert len(stacked) == 4


def test_a_step_that_tells_the_host_does_so_once_also_with_a_gradient():
    w, h, told = ParamState(2.0), State(1.0), []

    def step():
        h.value = w.value * h.value
        jax.debug.callback(lambda x: told.append(float(x)), h.value)
        return jnp.sin(h.value)

    transform.jit(transform.grad(lambda: transform.for_loop(step, length=3).sum(), w))()
    jax.effects_barrier()
    assert sorted(told) == [2.0, 4.0, 8.0]


# sharded


class Wide(Module):
    """A layer split over a 2 x 4 mesh in all ways."""

    def __init__(self, mesh=None):
        super().__init__()

        def at(*spec):
            return None if mesh is None else NamedSharding(mesh, P(*spec))

        self.v = HiddenState(jnp.linspace(-1, 1, 64).reshape(4, 16), sharding=at("batch", "neuron"))
        self.w = ParamState(jnp.linspace(0, 1, 256).reshape(16, 16), sharding=at(None, "neuron"))
        self.bias = ParamState(jnp.linspace(1, 2, 16) * u.mV, sharding=at("neuron"))

    def update(self):
        self.v.value = jnp.tanh(self.v.value @ self.w.value + self.bias.value / u.mV)
        return (self.v.value**2).mean()


def loops(loop):
    return lambda m: transform.jit(transform.grad(lambda: loop(m).sum(), m.states(ParamState)))()


WIDE = {
    "grad": lambda m: transform.grad(m, m.states(ParamState))(),
    "jit(grad)": lambda m: transform.jit(transform.grad(m, m.states(ParamState)))(),
    "jit(grad(for_loop))": loops(lambda m: transform.for_loop(m, length=3)),
    "jit(grad(checkpointed))": loops(lambda m: transform.checkpointed_for_loop(m, length=5, base=2)),
    "jit(grad(remat))": loops(lambda m: transform.remat(m)()),
    "for_loop(grad)": lambda m: jax.tree.map(
        lambda x: x[-1], transform.for_loop(transform.grad(m, m.states(ParamState)), length=2)
    ),
    "vjp": lambda m: transform.jit(lambda: transform.vjp(m, grad_states=m.states(ParamState))[1](1.0))(),
    "jit(jacrev)": lambda m: transform.jit(transform.jacrev(m, m.states(ParamState)))(),
    "jit(jacfwd)": lambda m: transform.jit(transform.jacfwd(m, m.states(ParamState)))(),
}


@pytest.mark.parametrize("derive", WIDE.values(), ids=WIDE)
def test_derivatives_lie_as_the_parameters_do(mesh, derive):
    split, alone = Wide(mesh), Wide()
    grads, expected = derive(split), derive(alone)
    same(grads, expected, 1e-5)
    if derive is not WIDE["for_loop(grad)"]:
        for path, state in split.states(ParamState).items():
            (leaf,) = jax.tree.leaves(grads[path])
            assert leaf.sharding.is_equivalent_to(state.sharding, leaf.ndim), path
    for path, state in split.states().items():
        (leaf,) = jax.tree.leaves(state.value)
        assert leaf.sharding.is_equivalent_to(state.sharding, leaf.ndim), path
        assert len(leaf.sharding.device_set) == 8
    np.testing.assert_allclose(split.v.value, alone.v.value, rtol=1e-5)


def test_matrices_lie_as_their_last_parameter_does(mesh):
    split, alone = Wide(mesh), Wide()
    for derive in (
        lambda m: transform.jit(transform.jacrev(lambda: m() * m.v.value, m.bias))(),
        lambda m: transform.jit(transform.hessian(m, m.bias))(),
    ):
        found = derive(split)
        same(found, derive(alone), 1e-5)
        (leaf,) = jax.tree.leaves(found)
        assert leaf.sharding.is_equivalent_to(NamedSharding(mesh, P(*(None,) * (leaf.ndim - 1), "neuron")), leaf.ndim)


def test_a_check_that_fails_in_a_derivative_leaves_the_states():
    a, w = State(0.0), ParamState(2.0)

    def loss(x=1.0):
        a.value = a.value + 1
        transform.jit_error_if(w.value > 1, "w is {w}", w=w.value)
        return w.value**2 * x

    for derive in (
        transform.grad(loss, w),
        transform.jit(transform.grad(loss, w)),
        transform.grad(transform.remat(loss), w),
        transform.grad(lambda: transform.for_loop(loss, length=2).sum(), w),
        transform.hessian(loss, w),
        lambda: transform.vjp(loss, grad_states=w),
        lambda: transform.jvp(loss, (1.0,), (1.0,)),
        lambda: transform.map(transform.remat(loss), jnp.ones(3)),
    ):
        with pytest.raises(CompiledError, match="w is 2.0"):
            derive()
        assert a.value == 0
    w.value = jnp.float32(0.5)
    assert transform.grad(loss, w)() == 1 and a.value == 1
