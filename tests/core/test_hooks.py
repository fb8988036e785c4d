"""Hooks fire once per operation, in order; what write_before answers is what is written, eagerly and compiled."""

import jax.numpy as jnp
import pytest

from dist_sim.core import HiddenState, Module, State, hooks, init_all_states, transform
from dist_sim.errors import ParameterError, StateValueError, UnknownNameError


@pytest.fixture(autouse=True)
def no_global_hooks():
    yield
    hooks.clear_state_hooks()


@pytest.fixture
def log():
    return []


def logging(log, text="{op} {name} {old} -> {new}"):
    return lambda ctx: log.append(text.format(op=ctx.operation, name=ctx.state_name, old=ctx.old_value, new=ctx.value))


OPERATIONS = {
    "init": lambda s: State(1.0, "s"),
    "read": lambda s: s.value,
    "write_before": lambda s: setattr(s, "value", 2.0),
    "write_after": lambda s: setattr(s, "value", 2.0),
    "restore": lambda s: s.restore_value(2.0),
}
SEEN = {
    "init": "init s None -> 1.0",
    "read": "read s None -> 1.0",
    "write_before": "write_before s 1.0 -> 2.0",
    "write_after": "write_after s 1.0 -> 2.0",
    "restore": "restore s 1.0 -> 2.0",
}


@pytest.mark.parametrize("hook_type", hooks.TYPES)
@pytest.mark.parametrize("where", ["one", "all"])
def test_each_fires_exactly_once_and_only_for_its_operation(hook_type, where, log):
    s = State(1.0, "s")
    if where == "all":
        hooks.register_state_hook(hook_type, logging(log))
    elif hook_type == "init":
        pytest.skip("for all States only")
    else:
        s.register_hook(hook_type, logging(log))
    for operation in hooks.TYPES:
        if operation != hook_type and {operation, hook_type} != {"write_before", "write_after"}:
            OPERATIONS[operation](s)
    assert log == []
    s.reset_value(1.0) if hook_type not in ("write_before", "write_after") else None
    log.clear()
    s._value = jnp.float32(1.0)
    OPERATIONS[hook_type](s)
    assert log == [SEEN[hook_type]]


def test_an_init_hook_of_one_state_would_never_fire():
    with pytest.raises(ParameterError, match="register_state_hook"):
        State(0.0).register_hook("init", print)


def test_wrong_registrations():
    with pytest.raises(UnknownNameError, match="Did you mean 'write_after'"):
        State(0.0).register_hook("write_aftr", print)
    with pytest.raises(ParameterError, match="a hook is a function"):
        State(0.0).register_hook("read", 3)


def test_all_states_first_then_by_priority_then_by_age(log):
    s = State(0.0)
    for name, priority in [("own low", -1), ("own first", 5), ("own second", 5), ("own middle", 0)]:
        s.register_hook("read", lambda ctx, name=name: log.append(name), priority=priority)
    hooks.register_state_hook("read", lambda ctx: log.append("all"), priority=-100)
    s.value  # noqa: B018
    assert log == ["all", "own first", "own second", "own middle", "own low"]


def test_a_chain_of_transforming_hooks_sees_what_came_before():
    s = State(0.0)

    def double(ctx):
        assert ctx.value is ctx.transformed_value
        ctx.transformed_value = ctx.transformed_value * 2

    def add(ctx):
        ctx.transformed_value = ctx.transformed_value + 1

    s.register_hook("write_before", add, priority=1)
    s.register_hook("write_before", double)
    s.value = 3.0
    assert s.value == 8


def test_what_a_hook_writes_must_fit_too():
    s = State(jnp.zeros(3), "s")
    s.register_hook("write_before", lambda ctx: setattr(ctx, "transformed_value", jnp.zeros(4)))
    with pytest.raises(StateValueError, match="'s' holds float32"):
        s.value = jnp.ones(3)
    s.clear_hooks()
    s.register_hook("write_before", lambda ctx: setattr(ctx, "transformed_value", None))
    with pytest.raises(StateValueError):
        s.value = jnp.ones(3)
    assert (s.value == 0).all()


def test_cancelling_leaves_the_state_and_fires_nothing_more(log):
    s = State(1.0)

    def cancel(ctx):
        ctx.cancel, ctx.cancel_reason = True, "not today"

    s.register_hook("write_before", cancel)
    s.register_hook("write_before", logging(log))
    s.register_hook("write_after", logging(log))
    s.value = 2.0
    assert s.value == 1 and log == []


@pytest.mark.parametrize("hook_type", ["write_before", "write_after", "restore"])
def test_an_exception_rejects_the_write(hook_type):
    s = State(1.0, "s")

    def refuse(ctx):
        if ctx.value > 10:
            raise OverflowError("too large")

    s.register_hook(hook_type, refuse)
    with pytest.raises(OverflowError) as caught:
        s.restore_value(20.0) if hook_type == "restore" else setattr(s, "value", 20.0)
    assert "of State 's', which rejects the operation" in caught.value.__notes__[0]
    assert s.value == 1
    s.value = 5.0
    assert s.value == 5


def test_observers_cannot_change_what_they_see():
    s = State(1.0)
    s.register_hook("read", lambda ctx: setattr(ctx, "value", 3.0))
    with pytest.raises(AttributeError):
        s.value  # noqa: B018


def test_handles_and_temporary_hooks(log):
    s = State(0.0)
    handle = s.register_hook("read", logging(log, "read"), name="mine", enabled=False)
    assert handle.name == "mine" and not handle.is_enabled() and s.has_hooks("read") and not s.has_hooks("restore")
    s.value  # noqa: B018
    handle.enable()
    s.value  # noqa: B018
    handle.disable()
    s.value  # noqa: B018
    assert log == ["read"] and s.list_hooks() == [handle]
    assert handle.remove() and not handle.remove() and handle.is_removed() and not s.has_hooks()
    with pytest.raises(ParameterError, match="was removed"):
        handle.enable()
    with s.temporary_hook("read", logging(log, "temporary")):
        s.value  # noqa: B018
    s.value  # noqa: B018
    assert log == ["read", "temporary"]


def test_hooks_stay_with_the_object(log):
    class Unit(Module):
        def init_state(self):
            self.v = HiddenState(jnp.zeros(3))

    unit = init_all_states(Unit())
    unit.v.register_hook("write_after", logging(log, "written"))
    init_all_states(unit)
    unit.v.value = jnp.ones(3)
    assert log == ["written"] * 2
    assert not unit.v.copy().has_hooks()


def plus_100(ctx):
    ctx.transformed_value = ctx.transformed_value + 100


COMPILED = {
    "eager": (lambda f: f, 101),
    "jit": (transform.jit, 101),
    "jit(jit)": (lambda f: transform.jit(transform.jit(f)), 101),
    "for_loop": (lambda f: lambda: transform.for_loop(f, length=3), 303),
    "jit(for_loop)": (lambda f: transform.jit(lambda: transform.for_loop(f, length=3)), 303),
    "cond": (lambda f: lambda: transform.cond(True, f, lambda: None), 101),
    "while_loop": (lambda f: lambda: transform.while_loop(lambda x: x < 3, lambda x: (f(), x + 1)[1], 0), 303),
}


@pytest.mark.parametrize("wrap, total", COMPILED.values(), ids=COMPILED)
def test_a_transforming_hook_is_part_of_a_program_once_for_each_write(wrap, total, log):
    s = State(0.0)
    s.register_hook("write_before", plus_100)
    s.register_hook("write_after", logging(log, "after {new}"))
    s.register_hook("read", logging(log, "read"))

    def step():
        s.value = s.value + 1

    run = wrap(step)
    eager = wrap(0) == 0
    run()
    assert s._value == total
    # As a whole the program writes once, and reads without anyone looking.
    assert log == (["read"] if eager else []) + [f"after {float(total)}"]
    run()
    assert s._value == 2 * total and len(log) == (4 if eager else 2)


def test_compiled_code_notices_hooks_that_come_and_go():
    s = State(0.0)

    @transform.jit
    def step():
        s.value = s.value + 1

    step()
    handle = s.register_hook("write_before", plus_100)
    step()
    assert s.value == 102
    handle.disable()
    step()
    assert s.value == 103
    everywhere = hooks.register_state_hook("write_before", plus_100)
    step()
    assert s.value == 204
    everywhere.remove()
    step()
    assert s.value == 205
    compilations = step.compilations
    s.register_hook("read", print)
    step()
    assert step.compilations == compilations


def test_a_hook_that_clips_and_one_that_cancels_inside_a_loop():
    v, w = State(jnp.zeros(2)), State(jnp.zeros(2))
    v.register_hook("write_before", lambda ctx: setattr(ctx, "transformed_value", jnp.minimum(ctx.value, ctx.old_value + 0.5)))
    w.register_hook("write_before", lambda ctx: setattr(ctx, "cancel", True))

    def step():
        v.value = v.value + 2.0
        w.value = w.value + 1.0
        return w.value

    seen = transform.jit(lambda: transform.for_loop(step, length=4))()
    assert v.value.tolist() == [2, 2] and w.value.tolist() == [0, 0] and (seen == 0).all()


def test_an_exception_while_tracing_restores_all():
    a, b = State(0.0), State(0.0)

    def refuse(ctx):
        raise ValueError("no")

    b.register_hook("write_before", refuse)

    @transform.jit
    def step():
        a.value = a.value + 1
        b.value = b.value + 1

    with pytest.raises(ValueError, match="no"):
        step()
    assert a.value == b.value == 0


def test_an_observer_that_raises_after_a_compiled_function_leaves_all_its_values():
    a, b = State(0.0), State(0.0)

    def refuse(ctx):
        raise ValueError("no")

    a.register_hook("write_after", refuse)

    @transform.jit
    def step():
        a.value = a.value + 1
        b.value = b.value + 1

    with pytest.raises(ValueError, match="no"):
        step()
    assert a.value == b.value == 1
