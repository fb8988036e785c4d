"""dt and the clock are seen where they were set, and never stale in what is compiled."""

import subprocess
import sys
import threading

import brainunit as u
import jax
import jax.numpy as jnp
import pytest

from dist_sim.core import State, environ, transform
from dist_sim.errors import DeviceError, ParameterError, UnitError


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


def test_an_entry_can_be_popped(monkeypatch):
    monkeypatch.setattr(environ, "_GLOBAL", {})
    environ.set(dt=0.2 * u.ms, training=True)
    assert environ.pop("training") is True and environ.get("training", None) is None
    assert environ.pop("training", 3) == 3
    with pytest.raises(KeyError, match="'training'.*: dt"):
        environ.pop("training")
    with environ.context(dt=0.1 * u.ms), pytest.raises(ParameterError, match="a context around here sets it"):
        environ.pop("dt")
    assert environ.get_dt() == 0.2 * u.ms


def test_a_missing_entry_says_what_it_is():
    with pytest.raises(KeyError, match="environ has no 'fit', whether plasticity is on"):
        environ.get("fit", desc="whether plasticity is on")
    assert environ.get("fit", False, "whether plasticity is on") is False


def test_default_types_follow_the_precision():
    for bits in (32, 64):
        with environ.context(precision=bits):
            assert jnp.zeros(3).dtype == environ.dftype() and jnp.zeros(3).dtype == f"float{bits}"
            assert jnp.arange(3).dtype == environ.ditype() and jnp.arange(3).dtype == f"int{bits}"


def test_devices_are_for_the_whole_process_and_asked_for_early():
    jax.devices()
    with pytest.raises(ParameterError, match="environ.set"), environ.context(platform="cpu"):
        pass
    with pytest.raises(ParameterError, match="allowed are cpu"):
        environ.set(platform="abacus")
    with pytest.raises(DeviceError, match="top of the script"):
        environ.set(host_device_count=3)
    assert environ.get_platform() == jax.default_backend() and "platform" not in environ.all()


def test_devices_are_set_at_the_top_of_a_script(checkout):
    script = "import dist_sim as ds; ds.environ.set(platform='cpu', host_device_count=3); import jax; print(jax.device_count())"
    done = subprocess.run([sys.executable, "-c", script], cwd=checkout, capture_output=True, text=True)
    assert done.stdout.strip() == "3", done.stderr


def test_threads_with_other_contexts_run_the_same_compiled_function():
    step = transform.jit(lambda: (environ.get_dt() / u.ms, environ.get("t") / u.ms))
    start = threading.Barrier(2)
    wrong = []

    def run(dt, t):
        with environ.context(dt=dt * u.ms, t=t * u.ms):
            start.wait()
            for _ in range(100):
                seen = [float(x) for x in step()]
                if seen != pytest.approx([dt, t]):
                    wrong.append(seen)

    threads = [threading.Thread(target=run, args=args) for args in [(0.1, 5.0), (1.0, 7.0)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and environ.get("t", None) is None
