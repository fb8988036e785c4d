"""Loops and branches outside of `jit`: traced at every call, compiled once for all calls that trace to the same program.

The function is traced anew, so that it sees what has changed in Python since: another attribute of a Module, another global. What
takes long is to compile, and that is done for a program and not for a function object: a lambda written in the body of a Python
loop is another object in each round, and the same program.

Programs are compared by their text as JAX has it (operations, parameters, shapes, how they hang together). Arrays that a
function closes over are inputs of the compiled program. It holds no States, and so keeps no model alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from dist_sim.core.recent import Recent
from dist_sim.core.transform.checks import running
from dist_sim.core.transform.staging import Staged, keep
from dist_sim.core.transform.text import text_of

PROGRAMS: Recent[Callable[..., list[Any]]] = Recent()


def run_compiled(fun: Callable[..., Any], *args: Any) -> Any:
    """`fun(*args)` as one compiled program; States that it writes are written.

    Args:
        args: PyTrees of arrays and numbers.
    """
    leaves, treedef = jax.tree.flatten(args)
    staged = Staged(lambda leaves: fun(*treedef.unflatten(leaves)), leaves)
    taken = staged.taken()
    pure, shardings, where = staged.pure()
    key = where, text_of(staged.jaxpr), tuple(map(jax.typeof, staged.consts))
    made = PROGRAMS.get(key) or jax.jit(pure, out_shardings=shardings, compiler_options=staged.compiler_options)
    compiled = PROGRAMS.keep(key, made)
    with running(staged):
        out, new = staged.results(compiled(staged.consts, taken, leaves))
    keep(staged.touched.written, staged.slots, new)
    return out
