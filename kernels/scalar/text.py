"""A text: what happens to ONE neuron's (or synapse's) numbers, as a function in plain jnp, and its reading in any arithmetic.

`trace` makes a `Text` of a function of scalars; `read` goes through its operations in order and hands each to an `Arithmetic`:
the guarded one runs them on arrays (`guarded.py`), the printing ones write them down in C++ or CUDA (`printed.py`). What a text
means is IEEE arithmetic in the order that is written, with our own elementary functions: the same bits everywhere.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex

from dist_sim.errors import ParameterError
from dist_sim.kernels.scalar.elementary import ELEMENTARY

FLOAT, INT, BOOL = "float", "int", "bool"


@final
@dataclass(frozen=True)
class Text:
    """A traced function of scalars.

    Attributes:
        name: of the function, for messages.
        dtype: float32 or float64, of its floating-point numbers.
        jaxpr: its operations.
        inputs, outputs: FLOAT, INT or BOOL of each.
    """

    name: str
    dtype: np.dtype
    jaxpr: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Arithmetic(ABC):
    """What the operations of a text are carried out by. Values are the arithmetic's own; `kind` is FLOAT, INT or BOOL."""

    @abstractmethod
    def literal(self, value: Any, kind: str) -> Any:
        """A constant."""

    @abstractmethod
    def operation(self, name: str, values: Sequence[Any], kinds: Sequence[str], kind: str) -> Any:
        """One of OPERATIONS; `kind`: of the result."""

    @abstractmethod
    def function(self, name: str, text: Text, values: Sequence[Any]) -> Sequence[Any]:
        """A function that occurs several times."""

    @abstractmethod
    def choose(self, condition: Any, text: Text, other: Text, values: Sequence[Any]) -> Sequence[Any]:
        """What `text` gives where the condition holds, else what `other` gives."""


OPERATIONS = (
    "add", "sub", "mul", "div", "neg", "abs", "sqrt", "floor", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor", "not",
    "select", "to_float", "to_int", "bits", "number", "shift_left", "shift_right_logical", "shift_right_arithmetic",
)  # fmt: skip
_SAME = {
    "shift_right_arithmetic": "shift_right_arithmetic", "shift_right_logical": "shift_right_logical", "shift_left": "shift_left",
    **{name: name for name in ("add", "sub", "mul", "div", "neg", "abs", "sqrt", "floor", "lt", "le", "gt", "ge", "eq", "ne",
                               "and", "or", "xor", "not")},
}  # fmt: skip
_FUNCTIONS = ("derivatives",)  # named texts that are written once, however often they occur
_PASSED_ON = ("stop_gradient", "copy", "copy_p", "reshape", "squeeze", "broadcast_in_dim", "optimization_barrier", "pvary")


def trace(name: str, f: Callable[..., Any], inputs: Sequence[str], dtype: Any) -> Text:
    """The text of a function of scalars that returns a flat sequence of scalars.

    Raises:
        ParameterError: an operation that no backend has.
    """
    dtype = np.dtype(dtype)
    with jax.enable_x64(dtype == np.float64):
        types = {FLOAT: dtype, INT: np.dtype(np.int32), BOOL: np.dtype(bool)}
        closed = jax.make_jaxpr(f)(*(jax.ShapeDtypeStruct((), types[kind]) for kind in inputs))
    return _text(name, dtype, closed)


def _text(name: str, dtype: np.dtype, closed: Any) -> Text:
    kinds = [tuple(_kind(v.aval, name) for v in vs) for vs in (closed.jaxpr.invars, closed.jaxpr.outvars)]
    return Text(name=name, dtype=dtype, jaxpr=closed, inputs=kinds[0], outputs=kinds[1])


@functools.cache
def elementary(name: str, dtype: np.dtype) -> Text:
    """The text of one of our own elementary functions."""
    count = 2 if name == "pow" else 1
    return trace(name, lambda *x: (ELEMENTARY[name](*x),), (FLOAT,) * count, dtype)


def _kind(aval: Any, where: str) -> str:
    if aval.shape:
        raise ParameterError(
            f"{where}: a model states what happens to ONE neuron's numbers; found an array of shape {aval.shape}."
        )
    if aval.dtype == bool:
        return BOOL
    return FLOAT if jnp.issubdtype(aval.dtype, jnp.floating) else INT


def read(text: Text, values: Sequence[Any], arithmetic: Arithmetic) -> list[Any]:
    """The results of a text for given values, carried out by an arithmetic."""
    jaxpr = text.jaxpr.jaxpr
    known: dict[Any, Any] = {}

    def value(atom: Any) -> Any:
        if isinstance(atom, jex.Literal):
            return arithmetic.literal(np.asarray(atom.val).item(), _kind(atom.aval, text.name))
        return known[atom]

    for var, constant in zip(jaxpr.constvars, text.jaxpr.consts, strict=True):
        known[var] = arithmetic.literal(np.asarray(constant).item(), _kind(var.aval, text.name))
    known |= dict(zip(jaxpr.invars, values, strict=True))
    for eqn in jaxpr.eqns:
        results = _read(eqn, [value(v) for v in eqn.invars], text, arithmetic)
        known |= dict(zip(eqn.outvars, results, strict=True))
    return [value(v) for v in jaxpr.outvars]


def _read(eqn: Any, values: list[Any], text: Text, a: Arithmetic) -> Sequence[Any]:
    name, kinds = eqn.primitive.name, [_kind(v.aval, text.name) for v in eqn.invars]
    kind = _kind(eqn.outvars[0].aval, text.name)

    def op(operation: str, given: Sequence[Any] = values, of: Sequence[str] = kinds, to: str = kind) -> Any:
        return a.operation(operation, given, of, to)

    if name in ELEMENTARY:
        return a.function(name, elementary(name, text.dtype), values)
    if name in _SAME:
        return [op(_SAME[name])]
    if name in _PASSED_ON:
        return values
    if name == "select_n":
        condition, otherwise, then = values
        return [op("select", [condition, then, otherwise], [kinds[0], kinds[2], kinds[1]])]
    if name in ("max", "min"):
        # A NaN on either side stays.
        first = a.operation("gt" if name == "max" else "lt", values, kinds, BOOL)
        if kind == FLOAT:
            nan = a.operation("ne", [values[0], values[0]], [kind, kind], BOOL)
            first = a.operation("or", [first, nan], [BOOL, BOOL], BOOL)
        return [op("select", [first, *values], [BOOL, *kinds])]
    if name == "convert_element_type":
        if kinds[0] == kind:
            return values
        if kind == BOOL:
            return [op("ne", [values[0], a.literal(0, kinds[0])], [kinds[0], kinds[0]])]
        return [op("to_float" if kind == FLOAT else "to_int")]
    if name == "bitcast_convert_type":
        return [op("bits" if kind == INT else "number")]
    if name == "integer_pow":
        return [_power(values[0], eqn.params["y"], a)]
    if name == "square":
        return [op("mul", [values[0]] * 2, [kind] * 2)]
    if name == "rsqrt":
        return [op("div", [a.literal(1.0, kind), op("sqrt")], [kind] * 2)]
    if name == "sign":
        zero, one = a.literal(0.0, kind), a.literal(1.0, kind)
        above, below = (a.operation(c, [values[0], zero], [kind] * 2, BOOL) for c in ("gt", "lt"))
        negative = op("select", [below, op("neg", [one], [kind]), zero], [BOOL, kind, kind])
        return [op("select", [above, one, negative], [BOOL, kind, kind])]
    if name == "clamp":
        low, x, high = values
        under, over = a.operation("lt", [x, low], [kind] * 2, BOOL), a.operation("gt", [x, high], [kind] * 2, BOOL)
        return [op("select", [under, low, op("select", [over, high, x], [BOOL, kind, kind])], [BOOL, kind, kind])]
    if name == "is_finite":
        difference = a.operation("sub", [values[0]] * 2, [FLOAT] * 2, FLOAT)
        return [a.operation("eq", [difference, a.literal(0.0, FLOAT)], [FLOAT] * 2, BOOL)]
    if name == "cond":
        index, *rest = values
        no, yes = (_text(text.name, text.dtype, branch) for branch in eqn.params["branches"])
        condition = index if kinds[0] == BOOL else a.operation("ne", [index, a.literal(0, INT)], [INT, INT], BOOL)
        return a.choose(condition, yes, no, rest)
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if (inner := eqn.params.get(key)) is not None:
            called = eqn.params.get("name", "")
            inside = _text(called or text.name, text.dtype, inner)
            return a.function(called, inside, values) if called in _FUNCTIONS else read(inside, values, a)
    raise ParameterError(
        f"{text.name}: jax's {name!r} has no meaning here that is the same on every backend. A model is written with +, -, *, /, "
        f"comparisons, where, cond, sqrt, floor and {', '.join(ELEMENTARY)}."
    )


def _power(x: Any, n: int, a: Arithmetic) -> Any:
    """x^n by repeated multiplication, from the left."""
    if n < 0:
        return a.operation("div", [a.literal(1.0, FLOAT), _power(x, -n, a)], [FLOAT] * 2, FLOAT)
    result = a.literal(1.0, FLOAT) if n == 0 else x
    for _ in range(n - 1):
        result = a.operation("mul", [result, x], [FLOAT] * 2, FLOAT)
    return result
