"""dt and the clock are seen where they were set, and never stale in what is compiled."""

import threading

import brainunit as u
import jax.numpy as jnp
import pytest

from dist_sim.core import State, environ, transform
from dist_sim.errors import ParameterError, UnitError


def test_contexts_nest_and_end():
    with environ.context(dt=0.1 * u.ms):
        assert environ.get_dt() == 0.1 * u.ms
        with environ.context(t=3.0 * u.ms):
            assert environ.get("t") == 3.0 * u.ms and environ.get_dt() == 0.1 * u.ms
        with environ.context(dt=1.0 * u.ms):
            assert environ.get_dt() == 1.0 * u.ms
        assert environ.all() == {"dt": 0.1 * u.ms}
    with pytest.raises(KeyError, match=r"environ has no 'dt'.*environ.set\(dt=0.1 \* u.ms\)"):
        environ.get_dt()
    with pytest.raises(KeyError, match="environ has no 'nothing_like_it'"):
        environ.get("nothing_like_it")
    assert environ.get("t", None) is None


def in_thread(f):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(f()))
    thread.start()
    thread.join()
    return seen[0]


def test_a_context_holds_in_its_thread_and_set_everywhere(monkeypatch):
    monkeypatch.setattr(environ, "_GLOBAL", {})
    environ.set(dt=0.2 * u.ms)
    assert in_thread(environ.get_dt) == 0.2 * u.ms
    with environ.context(dt=0.1 * u.ms):
        assert in_thread(environ.get_dt) == 0.2 * u.ms
        assert environ.get_dt() == 0.1 * u.ms


@pytest.mark.parametrize(("entries", "error"), [
    (dict(dt=0.1), UnitError),
    (dict(dt=1 * u.mV), UnitError),
    (dict(dt=0 * u.ms), ParameterError),
    (dict(dt=jnp.ones(2) * u.ms), ParameterError),
    (dict(precision=16), ParameterError),
])  # fmt: skip
def test_bad_entries_are_refused(entries, error):
    for place in (environ.set, lambda **kw: environ.context(**kw).__enter__()):
        with pytest.raises(error, match="environ"):
            place(**entries)


def test_precision_sets_the_default_float():
    assert environ.get_precision() == 32
    with environ.context(precision=64):
        assert environ.get_precision() == 64 and jnp.zeros(3).dtype == jnp.float64
    assert jnp.zeros(3).dtype == jnp.float32


def test_dt_is_never_stale_in_compiled_code():
    time = State(0.0 * u.ms)

    @transform.jit
    def step():
        time.value = time.value + environ.get_dt()
        return time.value

    for dt, expected in [(0.1, 0.1), (1.0, 1.1), (0.1, 1.2), (1.0, 2.2)]:
        with environ.context(dt=dt * u.ms):
            assert u.math.allclose(step(), expected * u.ms)
    assert step.compilations == 2


def test_precision_is_never_stale_in_compiled_code():
    f = transform.jit(lambda: jnp.zeros(3))
    assert f().dtype == jnp.float32
    with environ.context(precision=64):
        assert f().dtype == jnp.float64
    assert f().dtype == jnp.float32


def test_the_clock_is_an_input_of_compiled_code():
    f = transform.jit(lambda: 2 * environ.get("t"))
    for t in (0.0, 1.0, 2.0):
        with environ.context(t=t * u.ms):
            assert f() == 2 * t * u.ms
    assert f.compilations == 1


def test_the_clock_reaches_through_nested_transforms():
    inner = transform.jit(lambda: environ.get("t") + 1.0)

    @transform.jit
    def outer():
        looped = transform.for_loop(lambda: inner(), length=2)

        def step(k):
            with environ.context(t=k):
                return inner()

        return looped, transform.for_loop(step, jnp.arange(3.0))

    for t in (0.0, 5.0):
        with environ.context(t=t):
            looped, own = outer()
        assert looped.tolist() == [t + 1, t + 1] and own.tolist() == [1, 2, 3]
    assert outer.compilations == 1


def test_other_entries_are_part_of_the_key():
    f = transform.jit(lambda: 1 if environ.get("training", False) else 0)
    assert f() == 0
    with environ.context(training=True):
        assert f() == 1
    with environ.context(training=False):
        assert f() == 0
    assert f() == 0
    assert f.compilations == 3
