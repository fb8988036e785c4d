"""Loops and branches outside of `jit`: traced at every call, compiled once for all calls that trace to the same program.

The function is traced anew, so that it sees what has changed in Python since: another attribute of a Module, another global. What
takes long is to compile, and that is done for a program and not for a function object: a lambda written in the body of a Python
loop is another object in each round, and the same program.

Programs are compared by their text as JAX has it (operations, parameters, shapes, how they hang together). Arrays that a
function closes over are inputs of the compiled program. It holds no States, and so keeps no model alive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from types import FunctionType, MethodType
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from dist_sim.core.recent import Recent, Same
from dist_sim.core.transform.checks import running
from dist_sim.core.transform.staging import Staged, keep

# What a program says of its derivatives and its lanes; what is compiled here has neither.
_OF_TRANSFORMS = {"jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd", "out_trees", "rule"}

PROGRAMS: Recent[Callable[..., list[Any]]] = Recent()


def run_compiled(fun: Callable[..., Any], *args: Any) -> Any:
    """`fun(*args)` as one compiled program; States that it writes are written.

    Args:
        args: PyTrees of arrays and numbers.
    """
    leaves, treedef = jax.tree.flatten(args)
    staged = Staged(lambda leaves: fun(*treedef.unflatten(leaves)), leaves)
    taken = staged.taken()
    pure, where = staged.pure(taken)
    key = where, _text(staged.jaxpr, {}), tuple(map(jax.typeof, staged.consts))
    compiled = PROGRAMS.keep(key, PROGRAMS.get(key) or pure())
    with running(staged):
        out, new = staged.results(compiled(staged.consts, taken, leaves))
    keep(staged.touched.written, staged.slots, new)
    return out


def _text(jaxpr: Jaxpr, known: dict[int, Hashable]) -> Hashable:
    """What a program does; equal for programs that do the same in the same way. Variables are numbered as they appear."""
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
