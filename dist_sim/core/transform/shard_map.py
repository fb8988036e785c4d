"""shard_map that knows States: a function written for one device's part of them, run on all devices of a mesh."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, PartitionSpec

from dist_sim.core import environ
from dist_sim.core.filters import to_predicate
from dist_sim.core.random import RandomState
from dist_sim.core.slot import Slot
from dist_sim.core.state import State
from dist_sim.core.trace import StateTrace
from dist_sim.core.transform.jit import Jit
from dist_sim.core.transform.staging import Leaves, keep, now, refuse_states
from dist_sim.errors import ParameterError, StateValueError, TraceContextError
from dist_sim.partition.mesh import automatic, current_mesh

StateSpecs = PartitionSpec | Mapping[Any, PartitionSpec] | None

WHOLE = PartitionSpec()


def shard_map(
    fun: Callable[..., Any] | None = None,
    mesh: Mesh | None = None,
    in_specs: Any = WHOLE,
    out_specs: Any = WHOLE,
    *,
    state_in_specs: StateSpecs = None,
    state_out_specs: StateSpecs = None,
    check_vma: bool = True,
) -> Any:
    """Runs a function on every device of a mesh, each with its part of the arguments and of the States.

    Inside, arrays have the shapes of one device's part, and `jax.lax.axis_index`, `all_gather`, `psum`, ... take the names of
    the mesh axes. A State that lies on this mesh is cut as it lies; any other is whole on every device. A State that is not cut
    along a mesh axis may be written only with what is the same along it.

    The function is compiled at the first call as by :func:`jit`, with the States as inputs; when it is compiled, its Python
    runs twice: first to see which States it touches. The random numbers of a `RandomState` cannot be drawn inside; use
    `random.Random(seed)` with global ids, or draw outside.

    Works as a decorator, with or without arguments.

    Args:
        mesh: None takes that of :func:`dist_sim.use_mesh`, where the function is called. Its axes are taken as Auto axes.
        in_specs, out_specs: as in `jax.shard_map`: how the arguments are cut and the results put together; a PartitionSpec for
            all, or a tuple with one (or a PyTree of them) for each. Keyword arguments are whole on every device.
        state_in_specs: how States are cut, where not as they lie: a PartitionSpec for all; or a dict of PartitionSpecs keyed by
            State, by a kind of State, or by a pattern such as `"Net.*.V"` for the name of a State (the class and attribute that
            first held it, as error messages show it). The first that fits counts.
        state_out_specs: how the values written to States are put together, where not as they were cut; likewise. A State may
            have another shape after it.
        check_vma: refuse results and writes that differ between devices where they are said not to.

    Raises: when called; the States keep their values:
        ParameterError: no mesh.
        StateValueError: a State that its specification does not divide; a write of another shape, or one that differs between
            devices.
        TraceContextError: a draw from a RandomState.
    """
    if fun is None:
        return functools.partial(
            shard_map,
            mesh=mesh,
            in_specs=in_specs,
            out_specs=out_specs,
            state_in_specs=state_in_specs,
            state_out_specs=state_out_specs,
            check_vma=check_vma,
        )
    in_specs = tuple(in_specs) if isinstance(in_specs, list) else in_specs

    def parts(args: tuple[Any, ...], kwargs: dict[str, Any], mesh: Mesh) -> Any:
        return _Call(fun, mesh, in_specs, out_specs, state_in_specs, state_out_specs, check_vma)(args, kwargs)

    parts.__name__ = getattr(fun, "__name__", type(fun).__name__)
    compiled = Jit(parts, static_argnames="mesh")

    @functools.wraps(fun, updated=())
    def mapped(*args: Any, **kwargs: Any) -> Any:
        rules = current_mesh()
        used = mesh if mesh is not None or rules is None else rules.mesh
        if used is None:
            raise ParameterError("shard_map: no mesh. Give mesh=..., or call it inside `with use_mesh(...):`.")
        return compiled(args, kwargs, mesh=automatic(used))

    return mapped


class _Part(NamedTuple):
    """A State on one device: its slot, how its leaves are cut, and how they are put together."""

    slot: Slot
    specs: list[PartitionSpec]
    out_specs: list[PartitionSpec]


class _Call:
    """One call of a function on the devices of a mesh, inside a trace."""

    def __init__(
        self,
        fun: Callable[..., Any],
        mesh: Mesh,
        in_specs: Any,
        out_specs: Any,
        state_in_specs: StateSpecs,
        state_out_specs: StateSpecs,
        check_vma: bool,
    ) -> None:
        self._fun, self._mesh, self._check_vma = fun, mesh, check_vma
        self._state_in_specs, self._state_out_specs = state_in_specs, state_out_specs
        self._in_specs, self._out_specs = in_specs, out_specs
        self._parts: dict[State, _Part] = {}
        self._sources: list[State | str] = []  # what it reads, besides the arguments: see Staged.sources
        self._written: tuple[State, ...] = ()

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._explore(args, kwargs)
        inputs = [now(source) for source in self._sources]
        specs = [self._parts[x].specs if isinstance(x, State) else WHOLE for x in self._sources]
        out_specs = self._out_specs, [self._parts[state].out_specs for state in self._written]
        run = self._mapped(self._run, (specs, self._in_specs, WHOLE), out_specs)
        out, new = run(inputs, args, kwargs)
        keep(self._written, [self._after(state, leaves) for state, leaves in zip(self._written, new, strict=True)], new)
        return out

    def _after(self, state: State, leaves: Leaves) -> Slot:
        """What a written State is after the call."""
        avals = tuple((x.shape, x.dtype) for x in leaves)
        return state._slot if avals == state._slot.avals else replace(state._slot, avals=avals).placed(state._placement, state)

    def _mapped(self, fun: Callable[..., Any], in_specs: Any, out_specs: Any) -> Callable[..., Any]:
        return jax.shard_map(fun, mesh=self._mesh, in_specs=in_specs, out_specs=out_specs, check_vma=self._check_vma)

    def _explore(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Finds the States that the function touches. They have to be arguments of jax.shard_map, at their local shapes."""

        def part(state: State) -> tuple[Any, Slot]:
            if isinstance(state, RandomState):
                raise TraceContextError(
                    f"{state.label} is used inside shard_map, where its numbers would be the same on every device, and depend on "
                    "how many there are. Use dist_sim.random.Random(seed) with global ids, or draw outside."
                )
            given = _spec(self._state_in_specs, state)
            slot, specs = state._slot.shard(self._mesh, given, state, check_vma=self._check_vma)
            put = _spec(self._state_out_specs, state)
            out_specs = specs if put is None else [put] * len(specs)
            if out_specs != specs:
                # What is read and what is written differ along other axes: the results are checked, not each write.
                slot = replace(slot, varying=None)
            self._parts[state] = _Part(slot, specs, out_specs)
            return slot.value(frame.make_inputs(state, slot.shapes())), slot

        def probe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[()]:
            with frame:
                self._fun(*args, **kwargs)
                self._written = tuple(frame.writes)
                for state in self._written:
                    if state._slot != self._parts[state].slot:
                        raise StateValueError(
                            f"shard_map turns {state.label} into {state._slot} on each device: reshape it outside."
                        )
            return ()

        frame = StateTrace(staged=True, enter=part)
        jax.eval_shape(self._mapped(probe, (self._in_specs, WHOLE), ()), args, kwargs)
        self._sources = list(frame.sources)

    def _run(self, inputs: list[Leaves], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        frame = StateTrace()
        for source, leaves in zip(self._sources, inputs, strict=True):
            if isinstance(source, State):
                slot = self._parts[source].slot
                frame.bind(source, slot.value(leaves), slot)
            else:
                entry = environ.get(source)
                split = environ.parts(source, entry)
                assert split is not None
                frame.environ[source] = entry, split[1](leaves)
        with frame:
            out = refuse_states(self._fun(*args, **kwargs))
            return out, [state._slot.leaves(state._value) for state in self._written]


def _spec(specs: StateSpecs, state: State) -> PartitionSpec | None:
    """What is said of a State; None: nothing."""
    if specs is None or isinstance(specs, PartitionSpec):
        return specs
    name = state.name or state._attribute or ""
    for which, spec in specs.items():
        if which is state if isinstance(which, State) else _fits(which, name, state):
            return spec
    return None


def _fits(which: Any, name: str, state: State) -> bool:
    return fnmatchcase(name, which) if isinstance(which, str) else to_predicate(which, "states of shard_map")((), state)
