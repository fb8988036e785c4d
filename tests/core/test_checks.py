"""A check that fails while a compiled program runs is an error of that program, on any number of devices, and of no other."""

import threading
from contextlib import contextmanager

import brainunit as u
import jax
import jax.numpy as jnp
import pytest
from jax.experimental import checkify as jax_checkify
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from dist_sim.core import State, transform
from dist_sim.core.transform.checks import check, checkify, jit_error_if, nan_check, surfaced
from dist_sim.errors import CompiledError, DistSimError, ParameterError


@contextmanager
def raises(message):
    with pytest.raises(CompiledError, match=message), surfaced():
        yield


def grow(x):
    """Adds one, and must not pass 2."""
    jit_error_if(x > 2, "x is {x}", x=x)
    return x + 1


def repeat(x):
    return jax.lax.scan(lambda x, _: (grow(x), None), x, length=5)[0]


PLACES = {
    "jit": (jax.jit(grow), 3.0),
    "scan": (jax.jit(repeat), 0.0),
    "while": (jax.jit(lambda x: jax.lax.while_loop(lambda c: c[1] < 5, lambda c: (grow(c[0]), c[1] + 1), (x, 0))), 0.0),
    "cond": (jax.jit(lambda x: jax.lax.cond(x > 0, grow, lambda x: x, x)), 3.0),
    "vmap": (jax.jit(jax.vmap(grow)), [0.0, 3.0, 1.0]),
    "vmap of vmap": (jax.jit(jax.vmap(jax.vmap(grow))), [[0.0, 3.0], [1.0, 2.0]]),
    "vmap of cond": (jax.jit(jax.vmap(lambda x: jax.lax.cond(x > 2, grow, lambda x: x, x))), [0.0, 3.0, 1.0]),
    "vmap of scan": (jax.jit(jax.vmap(repeat)), [-9.0, 0.0]),
    "scan of vmap": (jax.jit(lambda x: jax.lax.scan(lambda x, _: (jax.vmap(grow)(x), None), x, length=5)[0]), [-9.0, 0.0]),
    "grad": (jax.jit(jax.grad(grow)), 3.0),
    "grad of scan with remat": (jax.jit(jax.grad(jax.checkpoint(repeat))), 0.0),
    "hessian": (jax.jit(jax.hessian(grow)), 3.0),
    "eager vmap": (jax.vmap(grow), [0.0, 3.0]),
    "eager grad": (jax.grad(grow), 3.0),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_failing_check_is_raised_and_a_holding_one_is_silent(place):
    f, x = PLACES[place]
    with raises(r"^x is 3.0$"):
        f(jnp.array(x))
    with surfaced():
        f(jnp.array(x) - 99)


def test_outside_of_compiled_code_it_is_raised_at_once():
    with pytest.raises(CompiledError, match="V is -1.50 mV, at 3"):
        jit_error_if(True, "V is {V:.2f}, at {Vn}", V=-1.5 * u.mV, Vn=3)
    jit_error_if(jnp.zeros(3, bool), "never")
    assert issubclass(CompiledError, DistSimError) and issubclass(CompiledError, RuntimeError)
    # What is known while tracing is no error yet: the branch may not be taken.
    assert jax.jit(lambda x: jax.lax.cond(x > 0, lambda: jit_error_if(True, "taken"), lambda: None))(-1.0) is None


@pytest.fixture
def mesh():
    return jax.make_mesh((2, 4), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def test_on_a_mesh_nobody_waits_for_a_device_that_failed(mesh):
    x = jax.device_put(jnp.arange(16.0).reshape(4, 4), NamedSharding(mesh, P("x", "y")))

    @jax.jit
    def run(x):
        def step(x, _):
            # The largest number is known to all only by a collective.
            jit_error_if(x > 17, "largest {largest}", largest=x.max())
            return x + 1, x.max()

        return jax.lax.scan(step, x, length=6)

    with raises("^largest 18.0$"):
        run(x)
    with surfaced():
        assert run(x - 9)[1].tolist() == [6, 7, 8, 9, 10, 11]


def test_inside_shard_map_the_device_that_fails_is_heard(mesh):
    @jax.jit
    def run(x):
        def local(x):
            def step(x, _):
                jit_error_if(x > 14, "x is {x}", x=x.max())
                return x + 0 * jax.lax.psum(x, "x"), None

            return jax.lax.scan(step, x, length=3)[0]

        return jax.shard_map(local, mesh=mesh, in_specs=P("x", "y"), out_specs=P("x", "y"))(x)

    with raises("^x is 15.0$"):
        run(jnp.arange(16.0).reshape(4, 4))


def test_the_transforms_note_that_a_program_has_checks():
    state = State(jnp.array(0.0))

    def step():
        state.value = grow(state.value)

    def in_branch(i):
        transform.cond(i > 0, step, lambda: None)

    for f in (step, lambda: transform.for_loop(step, length=2), lambda: transform.for_loop(in_branch, jnp.arange(2))):
        assert transform.Jit(f)._program((), {})[0].staged.checks
    assert not transform.Jit(lambda: state.value + 1)._program((), {})[0].staged.checks


def test_threads_hear_of_their_own_programs_only():
    start, heard = threading.Barrier(4), {}

    @jax.jit
    def run(x, limit):
        def step(x, _):
            jit_error_if(x > limit, "thread {x}", x=x)
            return x, None

        return jax.lax.scan(step, x, length=50)[0]

    def ask(n):
        start.wait()
        for _ in range(10):
            try:
                with surfaced():
                    run(jnp.float32(n), jnp.float32(1.5))
                heard.setdefault(n, set()).add("nothing")
            except CompiledError as error:
                heard.setdefault(n, set()).add(str(error))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {0: {"nothing"}, 1: {"nothing"}, 2: {"thread 2.0"}, 3: {"thread 3.0"}}


def test_the_innermost_context_raises_and_the_first_failure_counts():
    f = jax.jit(repeat)
    with surfaced():
        with raises("^x is 3.0$"):
            f(0.0)
            f(-1.0)
        f(-9.0)


def test_without_anybody_to_surface_it_jax_tells(capfd):
    single = jax.device_put(3.0, jax.devices()[0])
    with pytest.raises(jax.errors.JaxRuntimeError, match="CompiledError: x is 3.0"):
        jax.block_until_ready(jax.jit(grow)(single))
        jax.effects_barrier()


def test_messages_name_what_is_given():
    with pytest.raises(ParameterError, match=r"the message has \{W\}, which is not given. Given: V"):
        jit_error_if(False, "{V} {W}", V=1)
    with pytest.raises(ParameterError, match=r"has \{\}"):
        check(True, "{}")
    with pytest.raises(CompiledError, match=r"^1.0 mV 2.0 \{x\}$"):
        jit_error_if(True, "{V[0]} {Vm} {{x}}", V=[1.0, 3.0] * u.mV, Vm=2.0)


def test_nan_check_says_where():
    tree = {"neurons": [{"V": jnp.array([1.0, jnp.nan, 2.0]) * u.mV}], "n": 3, "{w}": jnp.ones(2)}
    with pytest.raises(CompiledError, match=r"net\['neurons'\]\[0\]\['V'\].*: 1 of 3 numbers .* the first is nan, at \[1\]"):
        nan_check(tree, "net")
    nan_check({"n": jnp.arange(3), "{w}": jnp.ones(2), "none": jnp.zeros(0)}, "net")
    f = jax.jit(lambda x: nan_check({"{w}": jnp.log(x)}, "logs "))
    with raises(r"^logs \['\{w\}'\]: 2 of 3 numbers are not finite; the first is -inf, at \[0\].$"):
        f(jnp.array([0.0, 1.0, -1.0]))


def test_checkify_returns_errors_and_writes_states():
    state = State(jnp.zeros(()) * u.mV)

    def step(limit):
        check(state.value < limit, "V is {V}", V=state.value)
        state.value += 1 * u.mV
        return state.value

    for run in (checkify(step), transform.jit(checkify(step))):
        state.value = 0.0 * u.mV
        error, out = run(3 * u.mV)
        assert error.get() is None and out == 1 * u.mV == state.value
        error, out = run(0.5 * u.mV)
        assert "V is 1.0 mV" in error.get() and out == 2 * u.mV == state.value
    looped = checkify(lambda: transform.for_loop(lambda: step(4 * u.mV), length=3))
    assert "V is 4.0 mV" in looped()[0].get() and state.value == 5 * u.mV
    divided = checkify(lambda: 1 / (state.value / u.mV - 5), errors=jax_checkify.float_checks)
    assert "division by zero" in divided()[0].get()
    with pytest.raises(CompiledError, match="V is 5.0 mV"):
        step(1 * u.mV)
