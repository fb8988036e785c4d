"""Compiled programs that all Modules of one structure share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import jax
import jax.export
import jax.numpy as jnp

from dist_sim.core import environ, hooks
from dist_sim.core.module import Module
from dist_sim.core.recent import Recent
from dist_sim.core.state import State
from dist_sim.core.structure import skeleton
from dist_sim.core.transform.program import COMPILED, Program
from dist_sim.core.transform.staging import Staged, Touched

PROGRAMS: Recent[tuple[Program, tuple[State, ...]]] = Recent()
"""Programs by structure, each with the States of its skeleton."""


@final
class SharedJit:
    """Compiles a function of a Module and arrays. Modules of one structure, see :mod:`dist_sim.core.structure`, share the
    program, which takes all values of their States as arguments.

    A process keeps the programs that it used last, and of no Module any value.

    Args:
        fun: `fun(module, *arrays)` reads and writes States of the Module.

    Attributes:
        compilations: how many programs were compiled here, rather than found.
    """

    def __init__(self, fun: Callable[..., None], module: Module) -> None:
        self.fun, self.module = fun, module
        self.compilations = 0
        self._programs: list[tuple[Any, Program]] = []

    def __call__(self, *args: Any) -> Any:
        return self._program(args)(list(args))

    def lower(self, *args: Any) -> jax.stages.Lowered:
        """The program for these arguments and the present States, as JAX's Lowered; nothing is run."""
        program = self._program(args)
        return program.donating.lower(*program.inputs(list(args)))

    def exported(self, platforms: Sequence[str], *args: Any, kernels: Sequence[str] = ()) -> jax.export.Exported:
        """The program for other platforms, see `Program.exported`."""
        return self._program(args).exported(platforms, list(args), kernels)

    def states(self, *args: Any) -> Touched:
        """The States that a call with these arguments reads and writes."""
        return self._program(args).staged.touched

    def clear_cache(self) -> None:
        """Looks for the program anew at the next call: the Module has another structure."""
        self._programs.clear()

    def _program(self, args: tuple[Any, ...]) -> Program:
        arrays = tuple((x.shape, x.dtype) for x in args)
        key = arrays, jnp.result_type(float), environ.fingerprint(), hooks.GLOBAL.version
        for known, program in self._programs:
            if known == key and program.fits():
                return program
        reduced = skeleton(self.module)
        whole = self.fun, key, reduced.key
        found = PROGRAMS.get(whole)
        if found is None or not found[0].fits():
            staged = Staged(lambda leaves: self.fun(reduced.module, *leaves), list(args))
            found = Program(staged, frozenset(), False, self.fun.__name__), tuple(reduced.states)
            self.compilations += 1
        # It was made on another skeleton, whose States are in the order of this one's.
        program, states = PROGRAMS.keep(whole, found)
        program = program.on_states(dict(zip(states, reduced.states.values(), strict=True)))
        self._programs.append((key, program))
        return program


def forget_programs() -> None:
    """Compiles every program anew from here on."""
    PROGRAMS.clear()
    COMPILED.clear()
