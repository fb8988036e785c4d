"""Programs over blocks: the same numbers on any number of devices, bit for bit, and communication only where it must be."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import HiddenState, State, transform
from dist_sim.core.random.bits import drawing
from dist_sim.partition.blocks import Kind, OverMesh, Split, on_devices, padded_size
from dist_sim.partition.exchange import meeting_of

N = 77_169  # neither a multiple of the vector lanes nor of any number of devices


def test_blocks_are_multiples_of_the_lanes():
    assert [padded_size(n, d) for n, d in [(1, 1), (128, 1), (129, 1), (129, 2), (1, 8), (4000, 3)]] == [
        128, 128, 256, 256, 1024, 4224,
    ]  # fmt: skip


class Adaptive(ds.Module):
    """Exponential integrate-and-fire with adaptation and with recurrence: elementwise, slices, sums, a buffer, branches."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.V = HiddenState(jnp.linspace(-70.0, -40.0, size))
        self.w = HiddenState(jnp.zeros(size))
        self.late = HiddenState(jnp.zeros((3, size), bool), axes=(None, "neuron"))
        self.gain = State(jnp.float32(1e-3))

    def update(self, n):
        V, w, late = self.V.value, self.w.value, self.late.value
        spikes = V >= -50.0
        left, right = spikes[: self.size // 3], spikes[self.size // 3 :]
        coupling = (left.sum() - 0.5 * right.sum()) * self.gain.value
        drive = jnp.exp((V + 50.0) * 0.5) - w + coupling + 2.0 * late[n % 3]
        drive = jax.lax.cond(n > 5, lambda x: jnp.tanh(x), lambda x: x, jnp.minimum(drive, 1e3))
        self.V.value = jnp.where(spikes, -58.0, V + 0.01 * (drive - V - 70.0))
        self.w.value = w + 0.001 * (2.0 * (V + 70.0) - w) + jnp.where(spikes, 60.0, 0.0)
        self.late.value = late.at[n % 3].set(spikes)
        return spikes, jnp.tanh(w).sum()


def outcome(devices, size, run, steps=40):
    with ds.use_mesh(devices=devices):
        net = Adaptive(size)
    out = run(net, jnp.arange(steps))
    found = jax.tree.map(np.asarray, (out, net.V.value, net.w.value, net.late.value))
    return [found, net.V.sharding]


def compiled(net, steps):
    return transform.jit(lambda steps: transform.for_loop(net, steps))(steps)


def eager_loop(net, steps):
    return transform.for_loop(net, steps)


def in_while(net, steps):
    @transform.jit
    def run(last):
        return transform.fori_loop(0, last, lambda n, total: total + net(n)[1], jnp.float32(0.0))

    return run(len(steps))


@pytest.mark.parametrize("run", [compiled, eager_loop, in_while])
@pytest.mark.parametrize("size", [N, 10])
def test_a_program_gives_the_same_bits_on_any_number_of_devices(run, size):
    alone, _ = outcome(1, size, run)
    assert size == 10 or jax.tree.leaves(alone)[0].any()
    for devices in (2, 3, 8):
        found, _ = outcome(devices, size, run)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
            assert a.shape == b.shape and np.array_equal(a, b)


def sent(text):
    """The shapes of what the devices of a compiled program send each other."""
    collective = r"= \(?(\w+\[[\d,]*\])\S* (?:all-gather|all-reduce|collective-permute|all-to-all)(?:-start)?\("
    found = re.findall(rf"{collective}|= \((\w+\[[\d,]*\])\S* s32\[\]\) custom-call\(.*dist_sim\.gather", text)
    return [one or other for one, other in found]


@pytest.mark.parametrize("devices, exchange", [(3, "mask"), (2, "memory")])
def test_what_is_used_whole_is_gathered_once_per_step(devices, exchange):
    with ds.use_mesh(devices=devices, exchange=exchange):
        V = HiddenState(jnp.linspace(-70.0, -40.0, devices * 128))

    def step(n):
        spikes = V.value >= -50.0
        V.value = V.value * 0.99 + spikes[:100].sum() - spikes[100:].sum() + spikes[7]

    text = transform.jit(lambda: transform.for_loop(step, jnp.arange(5))).lower().compile().as_text()
    assert sent(text) == [f"pred[{devices * 128}]"]


@pytest.mark.parametrize("devices, exchange", [(3, "mask"), (2, "memory")])
def test_of_counts_only_the_number_is_sent(devices, exchange):
    with ds.use_mesh(devices=devices, exchange=exchange):
        V = HiddenState(jnp.linspace(-70.0, -40.0, devices * 128))

    def step(n):
        V.value = V.value * 0.99 - 0.9
        spikes = (V.value >= -50.0).astype(jnp.float32)
        return spikes.sum(), spikes.mean()

    run = transform.jit(lambda: transform.for_loop(step, jnp.arange(5)))
    whole = {f"s32[{devices}]", f"s32[{devices},1]", f"s32[{devices},5]"}  # of one step, or of all five
    assert set(sent(run.lower().compile().as_text())) <= whole
    count, mean = run()
    assert np.array_equal(mean, count / np.float32(devices * 128)) and count[0] > count[4] == (V.value >= -50.0).sum() > 0


def test_counts_that_a_loop_puts_aside_are_sent_once():
    """By devices that meet, all steps together after the loop; a count that a later step needs goes at once."""

    def step(needed, n):
        V.value = V.value * 0.99 - 0.9
        count = (V.value >= -50.0).sum()
        if needed:
            V.value = V.value - 1e-3 * count
            count = jax.lax.cond(n % 2 == 0, lambda: count, lambda: -count)
        return (V.value >= -60.0).astype(jnp.float32).sum(), count

    for needed, gathered_in_loop in ((False, 0), (True, 1)):
        found = []
        for devices in 1, 2:
            with ds.use_mesh(devices=devices, exchange="memory" if devices > 1 else None):
                V = HiddenState(jnp.linspace(-70.0, -40.0, 300))

            run = transform.jit(lambda needed=needed: transform.for_loop(lambda n: step(needed, n), jnp.arange(5)))
            found.append((*run(), V.value))
        assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True)) and found[0][0][0] > found[0][0][4] > 0
        text = run.lower().compile().as_text()
        inside = [line for line in text.splitlines() if "dist_sim.gather" in line and "/while/" in line]
        assert len(inside) == gathered_in_loop
        assert sum(f"s32[{devices},5]" in line for line in text.splitlines() if "dist_sim.gather" in line) == (1 if needed else 2)


@pytest.mark.parametrize("size", [5, 256, 300])
def test_what_is_gathered_is_what_was_given(size):
    """Booleans travel as bits where their number allows it, everything else as it is."""
    with ds.use_mesh(devices=2, exchange="memory"):
        V = HiddenState(jnp.asarray(np.random.default_rng(1).normal(size=size), jnp.float32))
    order = np.random.default_rng(2).permutation(size)
    given = V.value
    for f in (lambda v: v > 0, lambda v: v, lambda v: (10 * v).astype(jnp.int8), lambda v: jnp.stack([v > 0, v < 1], 1)):
        got = transform.jit(lambda f=f: f(V.value)[order])()
        assert np.array_equal(got, np.asarray(f(given))[order])


class Crossing(ds.Module):
    """Gathers that do not depend on each other, at places of which each could come before the other, in loops and branches."""

    def __init__(self):
        super().__init__()
        self.each = [HiddenState(jnp.linspace(-1.0, 1.0 + n, 300)) for n in range(6)]

    def update(self, n):
        sums = [state.value[n + 1 :: 7].sum() for n, state in enumerate(self.each)]
        for state, other in zip(self.each, reversed(sums), strict=True):
            state.value = jnp.tanh(state.value + 1e-2 * other)
        halved = jax.lax.while_loop(lambda x: jnp.abs(x[::3]).sum() > 20.0, lambda x: 0.5 * x, self.each[0].value)
        first, second = (state.value for state in self.each[:2])
        branch = jax.lax.cond(n % 3 == 0, lambda x, y: x[:5].sum() + y[5:9].sum(), lambda x, y: x[9], first, second)
        inner = jax.lax.fori_loop(0, 2, lambda k, x: x + 1e-3 * (x[k] - x[-1]), self.each[3].value)
        self.each[4].value = jnp.where(halved > 0, branch, inner)
        return sum(sums), (self.each[5].value > 0).sum()


def test_gathers_in_loops_and_branches_come_in_one_order():
    found = []
    for devices, exchange in ((1, None), (2, "mask"), (2, "memory")):
        with ds.use_mesh(devices=devices, exchange=exchange):
            net = Crossing()
        run = transform.jit(lambda steps, net=net: transform.for_loop(net, steps))
        outs = [run(jnp.arange(n, n + 50)) for n in range(20)]
        found.append(jax.tree.map(np.asarray, (outs, [state.value for state in net.each])))
        text = run.lower(jnp.arange(50)).compile().as_text()
        own = [line for line in text.splitlines() if re.search(r" (all-|collective-|reduce-scatter)[\w-]*\(.*/while/", line)]
        # Where devices meet, the compiler sends nothing by itself: one would wait there, and the other in a meeting.
        gathers = re.findall(r"custom-call\((.*)\), custom_call_target=\"dist_sim\.gather", text)
        turns = [operands.split()[-1] for operands in gathers]
        assert (len(turns) > 10 and not own) if exchange == "memory" else not turns
        # By luck they meet without, too: each but the first takes the turn of another, and results are sent after the last.
        first = [turn for turn in turns if "constant" in turn]
        assert len(set(turns)) == len(turns) and len(first) <= 1
        entry = text[text.index("\nENTRY ") :]
        assert all(re.search(rf"custom-call\([^)]*{turn}\), custom_call_target=\"dist_sim.gather", entry) for turn in first)
        assert text.count("dist_sim.after") == (len(net.each) if turns else 0)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(found[0]), strict=True))


def many(x):
    return jnp.linspace(-1.0, 2.0, x.size, dtype=jnp.float32).reshape(x.shape)


def drawn(shape):
    return jax.random.uniform(drawing(jax.random.key(3)), shape)


# (function, shapes and split axes of its arguments, split axis of its result or None for a whole one)
CASES = {
    "elementwise": (lambda x, y: jnp.exp(x) * y + 1.0, [((300,), 0), ((300,), 0)], 0),
    "with a whole one": (lambda x, y: x + y, [((300,), 0), ((300,), None)], 0),
    "with another axis": (lambda x, y: x + y.T, [((5, 300), 1), ((300, 5), 0)], 1),
    "split along different axes": (lambda x, y: x + y, [((300, 300), 0), ((300, 300), 1)], 0),
    "one number for all neurons": (lambda x, y: x * y, [((4, 300), 1), ((4, 1), None)], 1),
    "gradient stopped": (lambda x: x * jax.lax.stop_gradient(x), [((300,), 0)], 0),
    "where": (lambda x: jnp.where(x > 0, x, -1.0), [((300,), 0)], 0),
    "new axis": (lambda x: x[:, None] * jnp.arange(4.0), [((300,), 0)], 0),
    "reshape": (lambda x: x.reshape(2, 3, 300), [((6, 300), 1)], 2),
    "reshape of its own axis": (lambda x: x.reshape(30, 10), [((300,), 0)], None),
    "squeeze": (lambda x: x[0], [((1, 300), 1)], 0),
    "transpose": (lambda x: x.T, [((4, 300), 1)], 0),
    "numbers of places": (lambda x: x + jnp.arange(300.0), [((300,), 0)], 0),
    "numbers along another axis": (lambda x: x * jnp.arange(4.0)[:, None], [((4, 300), 1)], 1),
    "random numbers": (lambda x: x + drawn(x.shape), [((300,), 0)], 0),
    "sum over others": (lambda x: x.sum(0), [((4, 300), 1)], 0),
    "sum over neurons": (lambda x: x.sum(1), [((4, 300), 1)], None),
    "count": (lambda x: (x > 0.3).sum(), [((301,), 0)], None),
    "count in floating point": (lambda x: (x > 0.3).astype(jnp.float32).sum(1), [((4, 301), 1)], None),
    "count of few": (lambda x: (x > 0.3).sum(), [((5,), 0)], None),
    "sum of whole numbers": (lambda x: (9.0 * x).astype(int).sum(), [((3, 333), 1)], None),
    "argmax over others": (lambda x: x.argmax(0), [((4, 300), 1)], 0),
    "cumsum over others": (lambda x: jnp.cumsum(x, 0), [((4, 300), 1)], 1),
    "cumsum over neurons": (lambda x: jnp.cumsum(x), [((300,), 0)], None),
    "sort": (lambda x: jnp.sort(x), [((300,), 0)], None),
    "flip others": (lambda x: jnp.flip(x, 0), [((4, 300), 1)], 1),
    "concatenate others": (lambda x, y: jnp.concatenate([x, y]), [((4, 300), 1), ((2, 300), None)], 1),
    "concatenate neurons": (lambda x, y: jnp.concatenate([x, y]), [((300,), 0), ((100,), 0)], None),
    "pad others": (lambda x: jnp.pad(x, ((1, 1), (0, 0))), [((4, 300), 1)], 1),
    "slice others": (lambda x: x[1:3], [((4, 300), 1)], 1),
    "slice neurons": (lambda x: x[10:200], [((300,), 0)], None),
    "row": (lambda x, k: jax.lax.dynamic_index_in_dim(x, k.astype(int)[0], 0, False), [((4, 300), 1), ((3,), None)], 0),
    "rows": (lambda x, k: x[k.astype(int)], [((4, 300), 1), ((3,), None)], 1),
    "one per neuron": (lambda x, k: jnp.take_along_axis(x, k.astype(int)[None], 0)[0], [((4, 300), 1), ((300,), 0)], 0),
    "each from a whole one": (lambda x, k: x[:, k.astype(int)], [((4, 7), None), ((300,), 0)], 1),
    "some neurons": (lambda x, k: x[:, k.astype(int)], [((4, 300), 1), ((3,), None)], None),
    "set a row": (lambda x, y, k: x.at[k.astype(int)[0]].set(y), [((4, 300), 1), ((300,), None), ((3,), None)], 1),
    "add to a row": (lambda x, y, k: x.at[k.astype(int)[1]].add(y), [((4, 300), 1), ((300,), 0), ((3,), None)], 1),
    "set some neurons": (lambda x, y: x.at[:7].set(y), [((300,), 0), ((7,), None)], None),
    "update a row": (lambda x, y: jax.lax.dynamic_update_slice(x, y[None], (2, 0)), [((4, 300), 1), ((300,), 0)], 1),
    "matrix from the left": (lambda x, y: x @ y, [((4, 5), None), ((5, 300), 1)], 1),
    "matrix to the right": (lambda x, y: x @ y, [((300, 5), 0), ((5, 4), None)], 0),
    "contraction": (lambda x, y: x @ y, [((4, 300), 1), ((300,), None)], None),
    "outer": (lambda x, y: jnp.outer(x, y), [((300,), 0), ((200,), 0)], 0),
    "jit": (lambda x: jax.jit(jnp.sin)(x), [((300,), 0)], 0),
    "custom derivative": (lambda x: jax.nn.relu(x), [((300,), 0)], 0),
    "remat": (lambda x: jax.grad(lambda x: jax.checkpoint(jnp.sin)(x).sum())(x), [((300,), 0)], 0),
    "scan": (lambda x, y: jax.lax.scan(lambda c, a: (c * 0.5 + a, c.sum()), x, y)[0], [((300,), 0), ((4, 300), None)], 0),
    "scan, stacked": (lambda x, y: jax.lax.scan(lambda c, a: (c + a, c * a), x, y)[1], [((300,), 0), ((4, 300), 1)], 1),
    "scan that becomes split": (
        lambda x: jax.lax.scan(lambda c, _: (c + x, None), jnp.zeros(300), None, length=3)[0], [((300,), 0)], 0,
    ),
    "scan over neurons": (lambda x: jax.lax.scan(lambda c, a: (c + a, c), 0.0, x)[1], [((300,), 0)], None),
    "while": (lambda x: jax.lax.while_loop(lambda c: c.sum() > 1.0, lambda c: c * 0.5, jnp.abs(x)), [((300,), 0)], 0),
    "cond": (lambda x: jax.lax.cond(x.sum() > 0, lambda: x, lambda: jnp.zeros(300)), [((300,), 0)], 0),
    "barrier": (lambda x, y: jax.lax.optimization_barrier((x, y))[0], [((300,), 0), ((3,), None)], 0),
    "gradient": (lambda x: jax.grad(lambda x: (jnp.tanh(x) ** 2).sum())(x), [((300,), 0)], 0),
}  # fmt: skip


def test_what_follows_from_one_number_is_computed_once():
    def f(x):
        ones = jnp.ones_like(x)
        return x * jnp.exp(jnp.where(ones > 0.5, -0.1 * ones, 2.0))

    program = jax.make_jaxpr(f)(jnp.ones(384))
    with ds.use_mesh(devices=1) as mesh:

        def over_blocks(x):
            return OverMesh(mesh).run(program.jaxpr, program.consts, [Split(x, Kind(0, 384))])[0].array

        text, x = str(jax.make_jaxpr(over_blocks)(jnp.ones(384))), jnp.linspace(0.0, 1.0, 384)
        found = jax.jit(over_blocks)(x)
    assert re.search(r":f32\[\] = exp", text) and not re.search(r":f32\[\d+\] = exp", text)
    np.testing.assert_allclose(found, x * np.exp(-0.1), rtol=1e-6)


@pytest.mark.parametrize("size", [3, 6, 40])
def test_a_sum_of_products_has_the_same_bits_on_one_device(size):
    """Where nothing is sent, a compiler might join product and sum."""

    def sums(devices):
        with ds.use_mesh(devices=devices):
            x = State(jnp.asarray(np.random.default_rng(size).normal(size=size), jnp.float32), axes=("neuron",))
            whole = State(jnp.asarray(np.random.default_rng(1).normal(size=(2, size)), jnp.float32))
            program = transform.jit(
                lambda: ((x.value**2).sum(), (3.3 * x.value)[1:].sum(), x.value + whole.value[0] * whole.value[1])
            )
            return list(map(np.asarray, program()))

    one = sums(1)
    assert all(np.array_equal(a, b) for devices in (2, 3, 8) for a, b in zip(sums(devices), one, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_an_operation_on_blocks(case):
    function, arguments, axis = CASES[case]
    arrays = [many(np.empty(shape)) for shape, _ in arguments]
    wanted = jax.jit(function)(*arrays)
    program = jax.make_jaxpr(function)(*arrays)
    kinds = [None if axis is None else Kind(axis, shape[axis]) for shape, axis in arguments]

    def outcome(blocks, values):
        (out,) = blocks.run(program.jaxpr, program.consts, values)
        assert (out.kind.axis if isinstance(out, Split) else None) == axis
        return [out]

    found = {}
    for devices, exchange in ((1, None), (3, "mask"), (2, "mask"), (2, "memory")):
        mesh = ds.neuron_mesh(devices)
        meeting = meeting_of(mesh, exchange)

        def run(*arrays, mesh=mesh, meeting=meeting):
            if meeting is not None:
                return on_devices(mesh, meeting, outcome, arrays, kinds)[0]
            blocks = OverMesh(mesh)
            values = [x if kind is None else blocks.take(x, kind) for x, kind in zip(arrays, kinds, strict=True)]
            return blocks.plain(*outcome(blocks, values))

        found[devices, exchange] = np.asarray(jax.jit(run)(*arrays))
        assert found[devices, exchange].shape == wanted.shape
        assert np.allclose(found[devices, exchange], wanted, rtol=1e-5, atol=1e-5)
    assert "matrix" in case or all(np.array_equal(found[1, None], other) for other in found.values())
