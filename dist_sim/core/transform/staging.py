"""A function as a program: run once under a JAX trace, with the States it reads as inputs and those it writes as outputs.

What jit, the loops and the branches share. The user's Python runs once, however deep the transforms are nested: what they
compose are programs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.ad_checkpoint import checkpoint_name
from jax.core import Tracer, eval_jaxpr
from jax.extend.core import ClosedJaxpr, Var
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dist_sim.core import environ
from dist_sim.core.placement import ByName, Given
from dist_sim.core.slot import Slot, placed
from dist_sim.core.state import State, commit
from dist_sim.core.trace import INPUT, StateTrace, check_read
from dist_sim.core.transform.compiler import compiler_options
from dist_sim.errors import StateValueError
from dist_sim.kernels.gather import Meeting
from dist_sim.partition.blocks import Blocks, Kind, OverMesh, on_devices
from dist_sim.partition.exchange import meeting_of
from dist_sim.partition.mesh import NEURON

Leaves = list[Any]


class Touched(NamedTuple):
    """The States of a function, in the order in which it first touches them."""

    read: tuple[State, ...]
    written: tuple[State, ...]

    @property
    def read_only(self) -> tuple[State, ...]:
        written = set(self.written)
        return tuple(state for state in self.read if state not in written)


class Spread(NamedTuple):
    """A mesh over which a program runs, and where its devices meet; None: the compiler communicates."""

    mesh: Mesh
    meeting: Meeting | None


class Staged:
    """A function of States, environment entries and arguments, as a program.

    Args:
        fun: is called once, with values that stand for those of `args`.
        args: PyTrees of arrays or `jax.ShapeDtypeStruct`.

    Attributes:
        touched: the States it reads and writes.
        slots: what each written State is after it.
        sources: what its inputs are, besides the arguments: States and keys of environment entries.
        environ: every environment entry that it read: key to the value outside, MISSING where a default was taken.
        out: shapes of what it returns.
        checks: it contains checks that may fail while it runs.
        jaxpr, consts: as JAX has it: of what :meth:`taken` gives and of the arguments, flat; and arrays that it closes over.
    """

    touched: Touched
    slots: list[Slot]

    def __init__(self, fun: Callable[..., Any], *args: Any) -> None:
        frame = StateTrace(staged=True)

        def probe(*args: Any) -> Any:
            with frame:
                out = refuse_states(fun(*args))
                self.touched = Touched(tuple(frame.reads), tuple(frame.writes))
                self.slots = [state._slot for state in self.touched.written]
                return out, [state._slot.leaves(state._value) for state in self.touched.written]

        closed, (self.out, _) = jax.make_jaxpr(probe, return_shape=True)(*args)
        self.sources = tuple(frame.sources)
        self.environ = {key: outer for key, (outer, _) in frame.environ.items()}
        self.checks = frame.checks
        self._out_tree = jax.tree.structure(self.out)
        self._out_size = self._out_tree.num_leaves
        self.consts: list[Any] = closed.consts
        self.jaxpr, self._taken = _inputs_first(closed)

    @property
    def calls_host(self) -> bool:
        """It does more than compute values, such as to show them or to check them."""
        return bool(self.jaxpr.effects)

    @property
    def is_closed(self) -> bool:
        """It holds no values of a trace around it, and may be kept."""
        return not any(isinstance(const, Tracer) for const in self.consts)

    def on_states(self, states: Mapping[State, State]) -> Staged:
        """The same program on other States, which are the same slots."""
        other = copy.copy(self)
        other.touched = Touched(*(tuple(states[state] for state in part) for part in self.touched))
        other.sources = tuple(states[source] if isinstance(source, State) else source for source in self.sources)
        # An equal slot is the State's own: compiled functions compare by identity first.
        pairs = zip(other.touched.written, self.slots, strict=True)
        other.slots = [state._slot if state._slot == slot else slot for state, slot in pairs]
        return other

    def gather(self) -> list[Leaves]:
        """The values of its sources here and now; noted as read."""
        return [now(source) for source in self.sources]

    def replaced(self, inputs: list[Leaves], states: Sequence[State], values: Sequence[Leaves]) -> list[Leaves]:
        """`inputs` with other values in these States."""
        new = dict(zip(states, values, strict=True))
        return [new.get(source, old) for source, old in zip(self.sources, inputs, strict=True)]  # type: ignore[call-overload]

    def __call__(self, inputs: list[Leaves], *args: Any) -> tuple[Any, list[Leaves]]:
        """Runs the program.

        Returns:
            What the function returns, and the leaves of the written States.
        """
        taken = [inputs[source][leaf] for source, leaf in self._taken]
        return self.results(eval_jaxpr(self.jaxpr, self.consts, *taken, *jax.tree.leaves(args)))

    def taken(self) -> list[Any]:
        """The arrays of its sources that it uses, here and now; the sources are noted as read."""
        inputs = self.gather()
        return [inputs[source][leaf] for source, leaf in self._taken]

    def pure(self) -> tuple[Callable[..., list[Any]], list[Any], Hashable]:
        """It as a function of (consts, taken, flat arguments) to flat results, that knows no State.

        Returns:
            That function; where its results are put, for `jax.jit`; and what it depends on besides the jaxpr.
        """
        jaxpr, size, spread = self.jaxpr, self._out_size, self.spread
        shardings = [sharding for slot in self.slots for sharding in slot.shardings]
        kinds = None if spread is None else self._kinds([var.aval for var in jaxpr.invars[: len(self._taken)]], spread.mesh)

        def run(consts: list[Any], taken: list[Any], leaves: list[Any]) -> list[Any]:
            if spread is None or kinds is None:
                return eval_jaxpr(jaxpr, consts, *taken, *leaves)
            return _on(spread, jaxpr, consts, taken, kinds, leaves, size, shardings)

        where = None if spread is None else (*spread, *(kinds or ()))
        # Told where States lie, XLA puts them there: else it says of a single device that nothing is split, and each is moved.
        return run, [None] * size + shardings, (where, size, *shardings)

    @property
    def positions(self) -> list[tuple[int, int]]:
        """Which leaves of its sources it takes: (source, leaf)."""
        return self._taken

    @property
    def compiler_options(self) -> dict[str, str | int]:
        """What XLA is told where it is compiled by itself."""
        spread = self.spread
        return compiler_options(self.jaxpr, None if spread is None else spread.mesh)

    def name_results(self, name: str) -> None:
        """Names what it returns and what States have after it, by `checkpoint_name`."""
        results = list({id(var): var for var in self.jaxpr.outvars if isinstance(var, Var)}.values())
        named = jax.make_jaxpr(lambda *xs: checkpoint_name(xs, name))(*(var.aval for var in results))
        naming = {id(var): eqn for var, eqn in zip(results, named.eqns, strict=True)}
        eqns = []
        for eqn in self.jaxpr.eqns:
            outvars = [naming[id(var)].invars[0] if id(var) in naming else var for var in eqn.outvars]
            eqns.append(eqn.replace(outvars=outvars))
            eqns += [naming[id(var)].replace(outvars=[var]) for var in eqn.outvars if id(var) in naming]
        self.jaxpr = self.jaxpr.replace(eqns=eqns)

    @property
    def spread(self) -> Spread | None:
        """How the program runs over a mesh, if its States are spread over one by the names of their axes."""
        placements = [source._placement for source in self.sources if isinstance(source, State)]
        rules = {p.rules.mesh: p.rules for p in placements if isinstance(p, ByName) and NEURON in p.rules.mesh.shape}
        if len(rules) != 1:
            return None
        ((mesh, used),) = rules.items()
        # The user's own collectives are JAX's, and what calls the host calls it once for all devices.
        alone = not self.calls_host and not _has_islands(self.jaxpr)
        return Spread(mesh, meeting_of(mesh, used.exchange) if alone else None)

    def _kinds(self, taken: Sequence[Any], mesh: Mesh) -> list[Kind | NamedSharding | None]:
        """How the arrays of its sources are split."""
        return [_lies(self.sources[source], leaf, x, mesh) for (source, leaf), x in zip(self._taken, taken, strict=True)]

    def results(self, flat: list[Any]) -> tuple[Any, list[Leaves]]:
        """The flat results of the program as what the function returns, and the leaves of the written States."""
        written, rest = [], iter(flat[self._out_size :])
        for slot in self.slots:
            written.append([next(rest) for _ in slot.avals])
        return self._out_tree.unflatten(flat[: self._out_size]), written

    def refuse_reshaping(self, where: str) -> None:
        """Raises StateValueError if a written State is another slot after it."""
        for state, slot in zip(self.touched.written, self.slots, strict=True):
            if slot != state._slot:
                raise StateValueError(
                    f"{where} turns {state.label} from {state._slot} into {slot}, and must not: reshape it before."
                )


def _on(
    spread: Spread, jaxpr: Any, consts: list[Any], taken: list[Any], kinds: list[Kind | NamedSharding | None], leaves: list[Any],
    size: int, shardings: list[Any],
) -> list[Any]:  # fmt: skip
    """A program with what has neurons along an axis split into blocks; the first `size` results are handed out."""
    mesh, meeting = spread

    def run(blocks: Blocks, values: list[Any]) -> list[Any]:
        return blocks.run(jaxpr, consts, values)

    if meeting is not None:
        out = on_devices(mesh, meeting, run, [*taken, *leaves], [*kinds, *(None for _ in leaves)])
    else:
        blocks = OverMesh(mesh)
        split = [blocks.take(x, kind) if isinstance(kind, Kind) else x for x, kind in zip(taken, kinds, strict=True)]
        out = list(map(blocks.plain, run(blocks, [*split, *leaves])))
    written = zip(out[size:], shardings, strict=True)
    handed = [_handed_out(mesh, x) for x in out[:size]]
    return [*handed, *(x if sharding is None else placed(x, sharding) for x, sharding in written)]


def now(source: State | str) -> Leaves:
    """The value of one source of a program here and now; noted as read."""
    return value_of(source) if isinstance(source, State) else jax.tree.leaves(environ.get(source))


def value_of(state: State) -> Leaves:
    """The leaves of a State's value as an input of a transform; noted as read."""
    check_read(state)
    return state._slot.leaves(state._value)


def keep(states: Sequence[State], slots: Sequence[Slot], values: Sequence[Leaves]) -> None:
    """Writes back what a transform computed."""
    commit(states, slots, [slot.value(leaves) for slot, leaves in zip(slots, values, strict=True)])


def refuse_states(out: Any) -> Any:
    for leaf in jax.tree.leaves(out):
        if isinstance(leaf, State):
            raise TypeError(
                f"{leaf.label} is returned from a traced function. Return its .value; the State itself is updated anyway."
            )
    return out


def _inputs_first(closed: ClosedJaxpr) -> tuple[Any, list[tuple[int, int]]]:
    """The program with the values that stand for inputs in front of its arguments, and which they are: (source, leaf)."""
    jaxpr = closed.jaxpr
    # What is not used has no name in the program; compared by identity, since literals cannot be hashed.
    used = {id(var) for eqn in jaxpr.eqns for var in eqn.invars} | {id(var) for var in jaxpr.outvars}
    taken, variables = [], []
    for eqn in jaxpr.eqns:
        if eqn.primitive is INPUT:
            for leaf, var in enumerate(eqn.outvars):
                if id(var) in used:
                    taken.append((eqn.params["position"], leaf))
                    variables.append(var)
    rest = [eqn for eqn in jaxpr.eqns if eqn.primitive is not INPUT]
    names = jaxpr.debug_info._replace(arg_names=None)
    return jaxpr.replace(invars=[*variables, *jaxpr.invars], eqns=rest, debug_info=names), taken


def _lies(source: State | str, leaf: int, x: Any, mesh: Mesh) -> Kind | NamedSharding | None:
    """How an input of a program is split: as neurons are, or as its State was given; None where it is whole."""
    placement = source._placement if isinstance(source, State) else None
    if isinstance(placement, ByName):
        return placement.kind(x.shape)
    if not isinstance(placement, Given) or placement.sharding.mesh != mesh:
        return None
    given = placement.leaf(leaf, x.shape, "a State")
    return given if NEURON in given.spec else None


def _handed_out(mesh: Mesh, array: jax.Array) -> jax.Array:
    """An array as the host gets it: whole on every process of the mesh where there are several, for each of them reads it."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return array if everywhere.is_fully_addressable else jax.lax.with_sharding_constraint(array, everywhere)


def _has_islands(program: Any) -> bool:
    """Whether the user's own `shard_map` is in it, whose collectives are those of JAX."""
    inner = [getattr(x, "jaxpr", x) for eqn in program.eqns for given in eqn.params.values() for x in jax.tree.leaves(given)]
    return any(eqn.primitive.name == "shard_map" for eqn in program.eqns) or any(
        _has_islands(x) for x in inner if hasattr(x, "eqns")
    )
