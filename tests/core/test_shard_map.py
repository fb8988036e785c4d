"""shard_map: a program for one device's part gives the same on any number of devices."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import dist_sim as ds
from dist_sim.core import transform
from dist_sim.errors import ParameterError, StateValueError, TraceContextError
from dist_sim.partition import neuron_mesh

SIZE = 16
SPLIT, WHOLE = PartitionSpec("neuron"), PartitionSpec()


def grid(batch=2, neuron=4):
    devices = np.array(jax.devices()[: batch * neuron]).reshape(batch, neuron)
    return Mesh(devices, ("batch", "neuron"), axis_types=(AxisType.Auto,) * 2)


MESHES = {**{f"{n} devices": lambda n=n: neuron_mesh(n) for n in (1, 2, 4, 8)}, "2x4": grid}


class Net(ds.Module):
    """Each device sees its own neurons, the rows of weights that end on them, and everybody's spikes."""

    def __init__(self, mesh):
        super().__init__()
        split = NamedSharding(mesh, SPLIT)
        self.V = ds.HiddenState(jnp.linspace(-1.0, 1.0, SIZE) * u.mV, sharding=split)
        self.spikes = ds.ShortTermState(jnp.zeros(SIZE, bool), sharding=split)
        weights = np.cos(np.arange(SIZE * SIZE, dtype=np.float32)).round(1).reshape(SIZE, SIZE)
        self.w = ds.ParamState(jnp.asarray(weights))  # whole on every device
        self.count = ds.LongTermState(jnp.int32(0))
        self.shape = None

    def update(self, x):
        local = self.V.value.shape[0]
        self.shape = local
        here = jax.lax.axis_index("neuron") * local
        self.spikes.value = self.V.value > 0.3 * u.mV
        everybody = jax.lax.all_gather(self.spikes.value, "neuron", tiled=True)
        rows = jax.lax.dynamic_slice_in_dim(self.w.value, here, local)
        drive = (rows * everybody).sum(1) + x + 0.01 * (ds.environ.get("t") / u.ms)
        decay = 1 - ds.environ.get_dt() / (5 * u.ms)
        self.V.value = self.V.value * decay + 0.25 * drive * u.mV
        self.count.value = self.count.value + jax.lax.psum(self.spikes.value.sum(), "neuron").astype(jnp.int32)
        return self.V.value, self.count.value


X = np.linspace(0, 1, SIZE, dtype=np.float32)


def run(mesh, drive):
    net = Net(mesh)
    step = transform.shard_map(net.update, mesh, in_specs=SPLIT, out_specs=(SPLIT, WHOLE))

    def at(i):
        with ds.environ.context(t=i * 0.5 * u.ms, i=i):
            return step(X)

    with ds.environ.context(dt=0.5 * u.ms):
        if drive == "eager":
            out = [at(i) for i in range(6)][-1]
            assert out[0].mantissa.sharding.spec == SPLIT
        else:
            out = jax.tree.map(lambda y: y[-1], transform.jit(lambda: transform.for_loop(at, jnp.arange(6)))())
    return net, out


@pytest.mark.parametrize("drive", ["eager", "jit(for_loop)"])
def test_bits_do_not_depend_on_the_mesh(drive):
    results = {}
    for name, mesh in MESHES.items():
        net, (V, count) = run(mesh(), drive)
        assert net.shape == SIZE // mesh().shape["neuron"]
        assert net.V.sharding.spec == net.V.value.mantissa.sharding.spec == net.spikes.value.sharding.spec == SPLIT
        assert net.count.value.sharding.is_fully_replicated
        found = (net.V.value.mantissa, net.spikes.value, net.count.value, V.mantissa, count)
        results[name] = [np.asarray(x).tobytes() for x in found]
        assert int(net.count.value) == int(count) > 6
    assert all(result == results["1 devices"] for result in results.values())


def test_gradients_do_not_depend_on_the_mesh():
    found = {}
    for name in ("1 devices", "8 devices", "2x4"):
        mesh = MESHES[name]()
        net = Net(mesh)
        step = transform.shard_map(net.update, mesh, SPLIT, (SPLIT, WHOLE))

        def loss(step=step):
            return sum((step(X)[0] / u.mV).sum() for _ in range(2))

        with ds.environ.context(dt=0.5 * u.ms, t=1 * u.ms):
            grads = transform.jit(lambda loss=loss, net=net: transform.grad(loss, {"V": net.V, "w": net.w})())()
        assert grads["V"].mantissa.sharding.spec == SPLIT
        found[name] = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(grads)])
        assert np.abs(found[name]).min(initial=1, where=np.arange(len(found[name])) < SIZE) > 0
    for grads in found.values():
        np.testing.assert_allclose(grads, found["1 devices"], rtol=1e-6)


@pytest.mark.parametrize("transformed", ["for_loop", "while_loop", "cond", "jit", "vmap", "grad"])
def test_transforms_inside(transformed):
    def outcome(devices):
        mesh = neuron_mesh(devices)
        state = ds.HiddenState(jnp.linspace(-1, 1, SIZE), sharding=NamedSharding(mesh, SPLIT))
        many = ds.HiddenState(
            jnp.linspace(-1, 1, 3 * SIZE).reshape(3, SIZE), sharding=NamedSharding(mesh, PartitionSpec(None, "neuron"))
        )
        total = ds.State(jnp.float32(0))

        def add(x):
            state.value = state.value + 0.5 * x
            total.value = total.value + jax.lax.pmax(state.value.max(), "neuron")

        def lane(x):
            many.value = jnp.sin(many.value) * x
            return jax.lax.psum(many.value.sum(), "neuron")

        inner = {
            "for_loop": lambda x: transform.for_loop(add, jnp.stack([x, 2 * x])),
            "while_loop": lambda x: transform.while_loop(lambda n: n < 3, lambda n: (add(x), n + 1)[1], 0),
            "cond": lambda x: transform.cond(total.value < 1, add, lambda x: None, x),
            "jit": transform.jit(add),
            "vmap": lambda x: transform.vmap(lane, in_states=many)(jnp.arange(1.0, 4.0)),
            "grad": lambda x: add(transform.grad(lambda: (state.value**2 * x).sum(), grad_states=state)()),
        }[transformed]

        def body(x):
            inner(x)

        step = transform.shard_map(body, mesh, SPLIT)
        step(X), step(X)
        assert step is not None and not isinstance(state._value, jax.core.Tracer)
        return [np.asarray(s.value) for s in (state, many, total)]

    one, eight = outcome(1), outcome(8)
    assert not all(np.array_equal(a, b) for a, b in zip(one, [np.linspace(-1, 1, SIZE, dtype=np.float32), 0, 0], strict=True))
    for a, b in zip(one, eight, strict=True):
        np.testing.assert_array_equal(a, b)


def test_lanes_of_shards():
    mesh = grid()
    state = ds.HiddenState(jnp.ones((3, SIZE)), sharding=NamedSharding(mesh, PartitionSpec(None, "neuron")))

    def step(x):
        state.value = state.value * x + jax.lax.axis_index("neuron")
        return jax.lax.psum(state.value.sum(), "neuron")

    mapped = transform.vmap(transform.shard_map(step, mesh), in_states=state)
    out = mapped(jnp.arange(3.0))
    expected = np.arange(3.0)[:, None] + np.repeat(np.arange(4), SIZE // 4)
    np.testing.assert_array_equal(state.value, expected)
    np.testing.assert_array_equal(out, expected.sum(1))
    assert state.value.sharding.spec == PartitionSpec(None, "neuron")


def test_blind_writes_and_keyword_arguments():
    mesh = neuron_mesh(4)
    state = ds.ShortTermState(jnp.zeros(SIZE), sharding=NamedSharding(mesh, SPLIT))

    @transform.shard_map(mesh=mesh, in_specs=(SPLIT,), out_specs=SPLIT)
    def step(x, *, scale):
        state.value = x * scale
        return state.value + 1

    np.testing.assert_allclose(step(X, scale=2.0), 2 * X + 1)
    np.testing.assert_allclose(state.value, 2 * X)


@pytest.mark.parametrize("which", ["all", "State", "kind", "pattern"])
def test_state_specs(which):
    mesh = neuron_mesh(4)

    class Box(ds.Module):
        def __init__(self):
            super().__init__()
            self.w = ds.ParamState(jnp.arange(8.0))

    box, shapes = Box(), []
    specs = {"all": SPLIT, "State": {box.w: SPLIT}, "kind": {ds.ParamState: SPLIT}, "pattern": {"*.other": WHOLE, "Box.w": SPLIT}}

    def step():
        shapes.append(box.w.value.shape)
        box.w.value = box.w.value + jax.lax.axis_index("neuron")

    transform.shard_map(step, mesh, state_in_specs=specs[which])()
    assert set(shapes) == {(2,)}
    np.testing.assert_array_equal(box.w.value, np.arange(8.0) + np.repeat(np.arange(4), 2))


def test_the_mesh_in_use():
    with ds.use_mesh(devices=4):
        state = ds.HiddenState(jnp.zeros(8))
    step = transform.shard_map(lambda: setattr(state, "value", state.value + jax.lax.axis_index("neuron")))
    with pytest.raises(ParameterError, match="use_mesh"):
        step()
    with ds.use_mesh(devices=4):
        step()
    np.testing.assert_array_equal(state.value, np.repeat(np.arange(4), 2))


def test_it_is_compiled_once():
    mesh, calls = neuron_mesh(4), []
    state = ds.HiddenState(jnp.zeros(8), sharding=NamedSharding(mesh, SPLIT))

    def step(x):
        calls.append(x)
        state.value = state.value + x

    mapped = transform.shard_map(step, mesh)
    for _ in range(3):
        mapped(1.0)
    assert len(calls) == 2 and state.value[0] == 3


class TestRefused:
    @pytest.fixture
    def net(self):
        mesh = neuron_mesh(4)
        split = ds.HiddenState(jnp.zeros(8), "V", sharding=NamedSharding(mesh, SPLIT))
        return mesh, split, ds.State(jnp.zeros(8), "whole")

    def refused(self, net, step, error, match, **options):
        mesh, *states = net
        before = [state._value for state in states]
        with pytest.raises(error, match=match):
            transform.shard_map(step, mesh, **options)()
        assert all(state._value is old for state, old in zip(states, before, strict=True))

    @pytest.mark.parametrize("inside", ["directly", "in for_loop", "in jit", "in cond"])
    def test_a_write_that_differs_between_devices(self, net, inside):
        _, V, whole = net

        def write():
            V.value = V.value + 1
            whole.value = jnp.full(8, V.value.sum())

        step = {
            "directly": write,
            "in for_loop": lambda: transform.for_loop(write, length=2),
            "in jit": transform.jit(write),
            "in cond": lambda: transform.cond(whole.value[0] > 0, lambda: None, write),
        }[inside]
        self.refused(net, step, StateValueError, "State 'whole'.*mesh axis neuron.*psum")

    def test_another_shape(self, net):
        _, V, whole = net
        self.refused(net, lambda: setattr(V, "value", jnp.zeros(8)), StateValueError, r"'V' holds float32\[2\]")
        self.refused(net, lambda: whole.reset_value(jnp.zeros(2)), StateValueError, "'whole'.*outside")

    def test_specs_that_do_not_divide(self, net):
        odd = ds.State(jnp.zeros(7), "odd")
        self.refused(net, lambda: odd.value, StateValueError, "'odd'.*does not divide", state_in_specs=SPLIT, out_specs=SPLIT)

    @pytest.mark.parametrize("draw", [lambda: ds.random.normal(), lambda: ds.random.seed(1)], ids=["draw", "seed"])
    def test_random_numbers_that_would_depend_on_the_devices(self, net, draw):
        key = ds.random.get_key()
        self.refused(net, draw, TraceContextError, "global ids")
        assert ds.random.get_key() == key

    def test_keyed_random_numbers_are_drawn(self, net):
        mesh = net[0]
        drawn = transform.shard_map(lambda i: ds.random.Random(1).uniform(i, stream="noise"), mesh, SPLIT, SPLIT)(jnp.arange(8))
        np.testing.assert_array_equal(drawn, ds.random.Random(1).uniform(np.arange(8), stream="noise"))
