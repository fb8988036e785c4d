"""What a program does, as something to compare: programs that are equal in it are compiled once.

Operations, parameters, shapes, and how they hang together, as JAX has them.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from types import FunctionType, MethodType
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from dist_sim.core.recent import Same

# What a program says of its derivatives and its lanes; what is compiled has neither.
_OF_TRANSFORMS = {"jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd", "out_trees", "rule"}


def text_of(jaxpr: Jaxpr) -> Hashable:
    """Equal for programs that do the same in the same way, whatever arrays they close over."""
    return _text(jaxpr, {})


def _text(jaxpr: Jaxpr, known: dict[int, Hashable]) -> Hashable:
    """Variables are numbered as they appear."""
    if id(jaxpr) in known:
        return known[id(jaxpr)]
    numbers: dict[Any, int] = {}

    def atom(x: Any) -> Hashable:
        if isinstance(x, Literal):
            return "literal", x.aval, _key(x.val, known)
        return numbers[x]

    def new(x: Any) -> Hashable:
        numbers[x] = len(numbers)
        return x.aval

    text: list[Hashable] = [tuple(map(new, [*jaxpr.constvars, *jaxpr.invars]))]
    for eqn in jaxpr.eqns:
        c = eqn.ctx
        given = tuple((name, _key(x, known)) for name, x in sorted(eqn.params.items()) if name not in _OF_TRANSFORMS)
        around = c.compute_type, c.threefry_partitionable, _key(c.xla_metadata, known), c.cur_abstract_mesh
        text.append((eqn.primitive, given, around, tuple(map(atom, eqn.invars)), tuple(map(new, eqn.outvars))))
    text.append(tuple(map(atom, jaxpr.outvars)))
    known[id(jaxpr)] = found = tuple(text)
    return found


def _key(x: Any, known: dict[int, Hashable]) -> Hashable:
    """A parameter of an operation, to be compared: by value where it has one. An object whose method the host is called by says
    in `program_key` what that does; without one it is equal to itself only.
    """
    key = functools.partial(_key, known=known)
    if isinstance(x, Jaxpr):
        return _text(x, known)
    if isinstance(x, ClosedJaxpr):
        return _text(x.jaxpr, known), tuple(map(Same, x.consts))
    if isinstance(x, (tuple, list)):
        return type(x), *map(key, x)
    if isinstance(x, dict):
        return tuple((name, key(value)) for name, value in x.items())
    if isinstance(x, (np.ndarray, np.generic)):
        return x.shape, str(x.dtype), x.tobytes()
    return _of_python(x)


def _of_python(x: Any) -> Hashable:
    """Something that a program holds, but does not consist of; a function that calls the host with what that refers to. What can
    change in place is another one although it looks alike.
    """
    if type(x) is tuple:
        return tuple, *map(_of_python, x)
    if isinstance(x, functools.partial):
        return functools.partial, _of_python(x.func), _of_python(x.args), _of_python(tuple(sorted(x.keywords.items())))
    if isinstance(x, MethodType):
        return MethodType, x.__func__, _of_python(getattr(x.__self__, "program_key", Same(x.__self__)))
    if isinstance(x, FunctionType):
        defaults = *(x.__defaults__ or ()), *sorted((x.__kwdefaults__ or {}).items())
        cells = tuple(cell.cell_contents for cell in x.__closure__ or ())
        if x.__module__.startswith("jax."):  # what JAX wraps a callback in, with a dict that stays as it is
            cells = tuple(tuple(cell.items()) if type(cell) is dict else cell for cell in cells)
        return x.__code__, _of_python(cells), _of_python(defaults)
    if isinstance(x, (float, complex)):
        return type(x), repr(x)  # 0.0 is not -0.0
    try:
        hash(x)
    except TypeError:
        return Same(x)
    return type(x), x
