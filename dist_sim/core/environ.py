"""The simulation environment: dt, precision, and the clock of the step.

`set` holds for the whole process; `context` for the code inside it, in the thread (or task) that entered it. What changes a
compiled program (dt, precision) is part of every compiled function's key; what merely changes from step to step (t, i) enters
it as an input.
"""

from __future__ import annotations

import builtins
import contextvars
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import brainunit as u
import jax
import numpy as np

from dist_sim.core.trace import StateTrace, current_frame, frames_within, has_tracer
from dist_sim.errors import DeviceError, ParameterError
from dist_sim.partition.mesh import current_mesh
from dist_sim.units import magnitude, steps_of

STATIC = ("dt", "precision")
"""Entries that are baked into compiled functions; always concrete."""

PLATFORMS = ("cpu", "gpu", "cuda", "rocm", "tpu")
"""What :func:`set` takes as a platform."""

STEP = "step of t"
"""An entry that nobody sets: a known t in steps of dt, counted in float64, which a compiled function would not keep."""

CLOCK = ("t", "i", STEP)
"""Entries that are inputs of compiled functions even as Python integers."""

MISSING: Any = object()


class _Entry(NamedTuple):
    value: Any
    token: Any  # of a static entry: hashable, equal for equal values
    frame: StateTrace | None  # open when the value was set: in there it is an ordinary value, further in an input


_GLOBAL: dict[str, _Entry] = {}
_CONTEXT: contextvars.ContextVar[dict[str, _Entry] | None] = contextvars.ContextVar("dist_sim_environ", default=None)


def set(*, platform: str | None = None, host_device_count: int | None = None, **entries: Any) -> None:
    """Sets entries for the whole process: `environ.set(dt=0.1 * u.ms, precision=64)`.

    `precision` (32 or 64) also sets JAX's default: with 64, `jnp.zeros(3)` is float64.

    Args:
        platform: where JAX computes, one of `cpu gpu cuda rocm tpu`.
        host_device_count: in how many devices the CPU is divided.

    Raises:
        UnitError, ParameterError: a dt that is no positive time, a precision other than 32 or 64, another platform.
        DeviceError: a number of devices that comes too late, after JAX has started.
    """
    checked = _checked(entries, "environ.set")
    if platform is not None and platform not in PLATFORMS:
        raise ParameterError(f"environ.set(platform={platform!r}): allowed are {', '.join(PLATFORMS)}.")
    if host_device_count is not None:
        try:
            jax.config.update("jax_num_cpu_devices", host_device_count)
        except RuntimeError:
            raise DeviceError(
                f"environ.set(host_device_count={host_device_count}): JAX has started and has its devices. Set it at the top of "
                "the script, or start the script with `dist-sim run --devices N`."
            ) from None
    if platform is not None:
        jax.config.update("jax_platform_name", platform)
    if "precision" in entries:
        jax.config.update("jax_enable_x64", entries["precision"] == 64)
    _GLOBAL.update(checked)


@contextmanager
def context(**entries: Any) -> Iterator[dict[str, Any]]:
    """Sets entries for the code inside: `with environ.context(dt=0.1 * u.ms, t=3 * u.ms): ...`. Contexts nest.

    Raises: as :func:`set`.
    """
    checked = _checked(entries, "environ.context")
    with ExitStack() as stack:
        if "precision" in entries:
            stack.enter_context(jax.enable_x64(entries["precision"] == 64))
        token = _CONTEXT.set({**(_CONTEXT.get() or {}), **checked})
        try:
            yield all()
        finally:
            _CONTEXT.reset(token)


def get(key: str, default: Any = MISSING, desc: str = "") -> Any:
    """The value of an entry, or `default`.

    Args:
        desc: what the entry is, for the error message.

    Raises:
        KeyError: not set, and no default.
    """
    entry = _find(key)
    value = MISSING if entry is None else entry.value
    if key not in STATIC:
        for frame in frames_within(None if entry is None else entry.frame):
            value = frame.see(key, value, lambda value: parts(key, value))
    if value is not MISSING:
        return value
    if default is not MISSING:
        return default
    known = ", ".join(sorted(all())) or "nothing"
    example = {"dt": "dt=0.1 * u.ms", "t": "t=0 * u.ms"}.get(key, f"{key}=...")
    what = f", {desc}" if desc else ""
    raise KeyError(
        f"environ has no {key!r}{what} (set here: {known}). Set it with `environ.set({example})` or, for a block of code, "
        f"`with environ.context({example}):`. A context holds in its own thread only."
    )


def pop(key: str, default: Any = MISSING) -> Any:
    """Removes an entry that was :func:`set`, and returns its value or `default`.

    Raises:
        KeyError: not set, and no default.
        ParameterError: inside a context that sets the entry.
    """
    if key in (_CONTEXT.get() or {}):
        raise ParameterError(f"environ.pop({key!r}): a context around here sets it. Pop it outside of that context.")
    entry = _GLOBAL.pop(key, None)
    if entry is not None:
        return entry.value
    if default is not MISSING:
        return default
    raise KeyError(f"environ.pop({key!r}): not set. Set for the whole process: {', '.join(sorted(_GLOBAL)) or 'nothing'}.")


def reset() -> None:
    """Removes all that was :func:`set` for the whole process, and with it a precision of 64; platform and devices stay.

    Raises:
        ParameterError: inside a context.
    """
    if _CONTEXT.get():
        raise ParameterError("environ.reset(): a context around here is open. Reset outside of it.")
    if "precision" in _GLOBAL:
        jax.config.update("jax_enable_x64", False)
    _GLOBAL.clear()


def get_dt() -> Any:
    """The time step, a quantity.

    Raises:
        KeyError: not set.
    """
    return get("dt")


def get_precision() -> int:
    """Bits of a default float: 32 or 64."""
    return 64 if jax.config.jax_enable_x64 else 32  # pyright: ignore[reportAttributeAccessIssue]


def get_platform() -> str:
    """Where JAX computes: `cpu`, `gpu` or `tpu`. Starts JAX."""
    return jax.default_backend()


def dftype() -> Any:
    """The default float: float32 or float64, as :func:`get_precision` says."""
    return np.dtype(f"float{get_precision()}").type


def ditype() -> Any:
    """The default integer: int32 or int64."""
    return np.dtype(f"int{get_precision()}").type


def all() -> dict[str, Any]:
    """Every entry visible here."""
    return {key: entry.value for key, entry in {**_GLOBAL, **(_CONTEXT.get() or {})}.items()}


def fingerprint() -> tuple[Any, ...]:
    """Equal in two places exactly when compiled functions may be shared between them."""
    inner = _CONTEXT.get() or _GLOBAL
    dt = inner.get("dt") or _GLOBAL.get("dt")
    return (None if dt is None else dt.token, get_precision(), current_mesh())


def peek(key: str) -> Any:
    """The value of an entry or MISSING, unnoticed by the transforms."""
    entry = _find(key)
    return MISSING if entry is None else entry.value


def parts(key: str, value: Any) -> tuple[list[Any], Callable[[list[Any]], Any]] | None:
    """The arrays of an entry that is an input of compiled functions, and how to put it together; None if it is a constant."""
    if value is MISSING:
        return None
    numbers = (float, complex, np.ndarray, np.generic, jax.Array, u.Quantity) + ((int,) if key in CLOCK else ())
    whole = jax.tree.leaves(value, is_leaf=lambda x: isinstance(x, u.Quantity))
    if not whole or not builtins.all(isinstance(leaf, numbers) and not isinstance(leaf, bool) for leaf in whole):
        return None
    leaves, treedef = jax.tree.flatten(value)
    return leaves, treedef.unflatten


def _find(key: str) -> _Entry | None:
    if key == STEP:
        return _step_of_time()
    inner = _CONTEXT.get()
    return _GLOBAL.get(key) if inner is None or key not in inner else inner[key]


def _step_of_time() -> _Entry | None:
    t, dt = _find("t"), _find("dt")
    if t is None or dt is None or has_tracer(t.value) or not isinstance(t.value, u.Quantity) or t.value.ndim:
        return None
    if not u.have_same_dim(t.value, dt.value):
        return None
    milliseconds = (float(x.to_decimal(u.ms)) for x in (t.value, dt.value))
    return _Entry(int(steps_of(*milliseconds)), None, t.frame)


def _checked(entries: dict[str, Any], where: str) -> dict[str, _Entry]:
    frame = current_frame()
    return {key: _Entry(value, _token(key, value, where), frame) for key, value in entries.items()}


def _token(key: str, value: Any, where: str) -> Any:
    if key == "dt":
        if has_tracer(value):
            raise ParameterError(f"{where}(dt=...): dt is built into compiled functions; it cannot be a traced value.")
        dt = magnitude(value, "ms", f"{where}(dt=...)")
        if dt.shape != () or not dt > 0:
            raise ParameterError(f"{where}(dt={value}): dt must be one positive time, such as 0.1 * u.ms.")
        # The unit is part of it: a program that adds dt to bare numbers sees 0.1 ms and 100 us differently.
        return float(dt), str(value.unit)
    if key in ("platform", "host_device_count"):
        raise ParameterError(f"{where}({key}={value!r}): holds for the whole process; use environ.set({key}={value!r}).")
    if key == "precision" and value not in (32, 64):
        raise ParameterError(f"{where}(precision={value!r}): allowed are 32 and 64.")
    return None
