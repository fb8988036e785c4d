"""A bar shows where a compiled loop is, and changes nothing else."""

import io
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, ParamState, transform
from dist_sim.core.transform import ProgressBar
from dist_sim.core.transform import progress as module
from dist_sim.errors import ParameterError


class Screen:
    """What the loops tell, in place of stderr."""

    def __init__(self):
        self.told = []

    def begin(self, run):
        self.told.append("begin")

    def update(self, run):
        self.told.append(run.done)

    def finish(self, run):
        self.told.append(f"end {run.done}")

    def take(self):
        jax.effects_barrier()
        told, self.told = self.told, []
        return told


@pytest.fixture
def screen(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(module, "_SCREEN", screen)
    return screen


class Stderr(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(module, "_SCREEN", module._Screen())
    return clock


def stderr(monkeypatch, is_terminal):
    stream = Stderr(is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


W = jnp.linspace(0, 1, 8)


class Walk:
    def __init__(self, place=None):
        self.h, self.w = HiddenState(jnp.zeros(8), sharding=place), ParamState(W, sharding=place)

    def __call__(self, x=0.5):
        self.h.value = jnp.tanh(self.h.value * self.w.value + x)
        return self.h.value.sum()


LOOPS = {
    "for_loop": transform.for_loop,
    "scan": lambda f, length, pbar: transform.scan(lambda c, x: (c + 1, f()), 0, None, length, pbar=pbar)[1],
    "reverse": lambda f, length, pbar: transform.for_loop(f, length=length, reverse=True, pbar=pbar),
    "checkpointed_for_loop": lambda f, length, pbar: transform.checkpointed_for_loop(f, length=length, base=3, pbar=pbar),
    "checkpointed_scan": lambda f, length, pbar: transform.checkpointed_scan(
        lambda c, x: (c, f()), (), None, length, base=3, pbar=pbar
    )[1],
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_bar_changes_nothing_and_ends_at_the_end(screen, loop):
    bare, shown = Walk(), Walk()
    expected = transform.jit(lambda: loop(bare, length=23, pbar=None))()
    run = transform.jit(lambda: loop(shown, length=23, pbar=5))
    for call in range(3):  # the later ones from the compiled cache
        shown.h.value = jnp.zeros(8)
        np.testing.assert_array_equal(run(), expected)
        np.testing.assert_array_equal(shown.h.value, bare.h.value)
        told = screen.take()
        assert told[-1] == "end 23" and told.count("begin") == 1 and sum(isinstance(x, int) for x in told) <= 5
        assert {10, 15, 20} <= set(told), call
    assert run.compilations == 1
    loop(shown, length=4, pbar=True)  # not compiled around it
    assert screen.take()[-1] == "end 4"


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_gradients_run_steps_again_and_the_bar_does_not(screen, loop):
    walk = Walk()
    for pbar in (None, 4):
        walk.h.value = jnp.zeros(8)
        found = transform.jit(transform.grad(lambda pbar=pbar: loop(walk, length=23, pbar=pbar).sum(), walk.w))()
        expected = found if pbar is None else expected  # noqa: F821
        np.testing.assert_array_equal(found, expected)
    told = screen.take()
    assert told[-1] == "end 23" and told.count("begin") == 1
    steps = [x for x in told if isinstance(x, int)]
    assert steps == sorted(steps)


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_without_a_bar_nothing_is_in_the_program(loop):
    walk = Walk()

    def text(pbar):
        run = transform.jit(lambda: loop(walk, length=23, pbar=pbar))
        return run.lower().as_text() + str(transform.make_jaxpr(lambda: loop(walk, length=23, pbar=pbar))()[0])

    assert "callback" not in text(None) and "callback" not in text(False)
    assert "callback" in text(True)


@pytest.mark.parametrize(("pbar", "length", "steps"), [
    (True, 1000, list(range(0, 1000, 10))),
    (ProgressBar(), 7, list(range(6))),
    (ProgressBar(count=4), 10, [0, 3, 6]),
    (ProgressBar(freq=100), 10, [0]),
    (3, 6, [0, 3]),
    (True, 1, []),
    (True, 0, None),
])  # fmt: skip
def test_how_often_it_updates(screen, pbar, length, steps):
    transform.for_loop(lambda: None, length=length, pbar=pbar)
    told = screen.take()
    assert told == ([] if steps is None else ["begin", *steps, f"end {length}"])


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9, 10, 17])
def test_a_bar_ends_at_the_end_however_the_loop_is_cut(screen, length):
    total = HiddenState(0.0)

    def step():
        total.value = total.value + 1.0

    for loop in (transform.checkpointed_for_loop, lambda *a, base, **k: transform.for_loop(*a, unroll=2, **k)):
        run = transform.jit(lambda loop=loop: loop(step, length=length, base=2, pbar=1))
        for _ in range(2):
            run()
            told = screen.take()
            assert told[-1] == f"end {length}" and told.count("begin") == 1
            assert told.index("begin") <= 2


def test_loops_in_loops(screen):
    inner = transform.jit(lambda: transform.for_loop(lambda: None, length=4, pbar=2))
    transform.jit(lambda: transform.for_loop(lambda: inner(), length=3, pbar=1))()
    told = screen.take()
    assert told.count("begin") == 4 and told.count("end 4") == 3 and told[-1] == "end 3"


def test_on_a_mesh(screen):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 4), ("batch", "neuron"), axis_types=(AxisType.Auto,) * 2)
    place = NamedSharding(mesh, P("neuron"))
    split, alone = Walk(place), Walk()
    alone_ys = transform.for_loop(alone, length=10)
    for loop in (transform.for_loop, lambda *a, **k: transform.checkpointed_for_loop(*a, base=3, **k)):
        split.h.value = jnp.zeros(8)
        desc = "y = {y:.1f}", lambda values: {"y": values["y"]}
        ys = transform.jit(lambda loop=loop, desc=desc: loop(split, length=10, pbar=ProgressBar(freq=5, desc=desc)))()
        np.testing.assert_allclose(ys, alone_ys, rtol=1e-6)
        assert split.h.value.sharding == place
        told = screen.take()
        assert told.count("begin") == 1 and told[-1] == "end 10"


def test_a_log_has_a_line_per_half_minute_and_one_at_the_end(monkeypatch, clock):
    stream = stderr(monkeypatch, False)

    def step(i):
        jax.debug.callback(lambda i: setattr(clock, "now", float(i)), i)
        return i

    run = transform.jit(lambda xs: transform.for_loop(step, xs, pbar=ProgressBar(freq=1, desc="training")))
    run(jnp.arange(0.0, 100.0))
    jax.effects_barrier()
    lines = stream.getvalue().splitlines()
    assert 4 <= len(lines) <= 5 and lines[-1].startswith("training: 100 of 100 (100 %) in 9")
    assert "s left" in lines[0]
    # Short ones do not fill the log.
    short = transform.jit(lambda: transform.for_loop(lambda: None, length=2, pbar=True))
    for _ in range(100):
        short()
    jax.effects_barrier()
    assert len(stream.getvalue().splitlines()) == len(lines)


def test_a_terminal_has_a_bar(monkeypatch, clock):
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = stderr(monkeypatch, True)
    desc = "y is {y:.2f} at {i}", lambda values: {"y": values["y"], "i": values["i"]}
    run = transform.jit(lambda: transform.for_loop(lambda x: x * 2, jnp.arange(8.0), pbar=ProgressBar(freq=2, desc=desc)))
    for _ in range(2):
        run()
        jax.effects_barrier()
        shown, _ = stream.getvalue(), stream.truncate(stream.seek(0))
        assert "y is 14.00 at 7" in shown and "100 %" in shown and "8/8" in shown
        assert "\x1b[?25h" in shown  # the cursor is back
    assert module._SCREEN._bars is None and run.compilations == 1


@pytest.mark.parametrize(("make", "match"), [
    (lambda: ProgressBar(freq=0), "freq=0"),
    (lambda: ProgressBar(freq=2, count=3), "give one of them"),
    (lambda: ProgressBar(count=2.5), "count=2.5"),
    (lambda: ProgressBar(desc=("a", "b")), "a pair of a text"),
    (lambda: transform.for_loop(lambda: 1.0, length=3, pbar=-1), "freq=-1"),
    (lambda: transform.for_loop(lambda: 1.0, length=3, pbar=ProgressBar(desc=("{x}", lambda d: {"y": d["y"]}))), "does not fit"),
    (lambda: transform.for_loop(lambda: 1.0, length=3, pbar=ProgressBar(desc=("{x}", lambda d: d["y"]))), "must return a dict"),
])  # fmt: skip
def test_what_makes_no_bar(make, match):
    with pytest.raises(ParameterError, match=match):
        make()
