"""A program over whole arrays as a program over the blocks that devices own.

Model code is written for whole populations. Run by :class:`Blocks`, an array with a neuron axis is *split*: each device holds
one block of it, in order of global ids, padded to a multiple of 128. What acts on each neuron by itself runs on the blocks
without communication. Neurons are counted where they are, as any sum is taken that is the same in any order. Everything else
(a slice, a sum in floating point, a sort) is computed from the whole array, which is gathered once, in the same way on every
device. So nothing that a program computes depends on the number of devices: not the order of a sum, and not which elements are
the remainder of a vectorised loop, where `exp` or `tanh` round differently.

Operations that a projection brings register a rule of their own with :func:`rule`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dist_sim.kernels.gather import Meeting, after, gather
from dist_sim.partition.mesh import NEURON

LANES = 128
"""A block is a multiple of this many neurons: vector lanes of CPUs and TPUs."""


class Kind(NamedTuple):
    """That a value is split along `axis`, which has `size` neurons."""

    axis: int
    size: int


@final
@dataclass(eq=False)
class Split:
    """Blocks of an array: `array` has the padded length along the axis of `kind`. Padding repeats the last neuron, or is 0.

    Attributes:
        booleans: the array of booleans that was converted to these numbers, as spikes are; they are counted and not added up.
    """

    array: jax.Array
    kind: Kind
    booleans: jax.Array | None = None
    _whole: list[jax.Array] = field(default_factory=list)


@final
@dataclass(eq=False)
class Uniform:
    """One number at every place of an array."""

    number: jax.Array
    shape: tuple[int, ...]


@final
class Counted:
    """An array of which each element is a function of its place, such as random numbers: computed as it is asked for, whole or in
    blocks, and so by whoever needs it.

    Args:
        whole: makes the array.
        split: makes its blocks along the axis of a kind.
    """

    def __init__(self, whole: Callable[[], jax.Array], split: Callable[[Kind], jax.Array]) -> None:
        self._make, self._cut = whole, split
        self._found: dict[Kind | None, jax.Array] = {}

    def along(self, kind: Kind | None) -> jax.Array:
        if kind not in self._found:
            self._found[kind] = self._make() if kind is None else self._cut(kind)
        return self._found[kind]


Value = Any
"""Split, Uniform, Counted, or an array that every device holds whole."""


def padded_size(size: int, devices: int) -> int:
    """The length of a split axis of `size` neurons on so many devices."""
    return devices * LANES * max(1, math.ceil(size / (devices * LANES)))


@final
class Blocks:
    """Runs a program over the devices of a mesh with the axis `neuron`. To be used inside `jax.jit`, anew in each trace.

    Devices that meet (see `kernels.gather`) come to all places of a program at which something is gathered in one order: each
    takes a turn, and returns the next. So nothing else may wait for the other devices in between: what lies elsewhere is sent
    before the first turn, and results are sent after the last.

    Args:
        meeting: of the devices; None where they communicate by collectives of JAX.

    Attributes:
        turn: () int32, the next; None without a meeting. Programs within the program take it, and return it.
    """

    def __init__(self, mesh: Mesh, meeting: Meeting | None = None) -> None:
        self.mesh, self.meeting = mesh, meeting
        self.devices = mesh.shape[NEURON]
        self.turn = None if meeting is None else jnp.int32(0)
        self._others = PartitionSpec.UNCONSTRAINED if len(mesh.shape) > 1 else None
        self._kinds: dict[Any, tuple[Kind | None, ...]] = {}

    # ---- values ----

    def split(self, value: Value, kind: Kind) -> jax.Array:
        """The blocks of a value, as an array of the padded length."""
        if isinstance(value, Split) and value.kind == kind:
            return value.array
        if isinstance(value, Counted):
            return value.along(kind)
        if isinstance(value, Uniform):
            length = padded_size(kind.size, self.devices)
            shape = (*value.shape[: kind.axis], length, *value.shape[kind.axis + 1 :])
            return jnp.broadcast_to(value.number, shape)
        return self._cut(self.constrained(_rounded(self.whole(value)), kind.axis, None), kind)

    def take(self, x: jax.Array, kind: Kind) -> Split:
        """An input of a program, which lies wherever it lies, in blocks."""
        cut = self._cut(x, kind)
        if self.turn is not None and cut.shape != x.shape:

            def once_there(turn: jax.Array, mine: jax.Array) -> jax.Array:
                return after(turn, mine.reshape(-1)[:1])

            self.turn = self._island(once_there, (None, kind.axis), None)(self.turn, cut)
        return Split(cut, kind)

    def _cut(self, x: jax.Array, kind: Kind) -> jax.Array:
        axis, size = kind
        if (missing := padded_size(size, self.devices) - size) > 0:
            last = jnp.broadcast_to(jax.lax.index_in_dim(x, size - 1, axis), (*x.shape[:axis], missing, *x.shape[axis + 1 :]))
            # Every device has it: unsaid, the compiler would share out the padding, and gather it.
            x = jax.lax.concatenate([x, self.constrained(last, axis, None)], axis)
        return self.constrained(x, axis, NEURON)

    def whole(self, value: Value) -> jax.Array:
        """The value as every device holds it whole. A split one is gathered, once."""
        if isinstance(value, Uniform):
            return jnp.broadcast_to(value.number, value.shape)
        if isinstance(value, Counted):
            return value.along(None)
        if not isinstance(value, Split):
            return value
        if not value._whole:
            axis, size = value.kind
            gathered = self.everywhere(_rounded(value.array), axis)
            value._whole.append(jax.lax.slice_in_dim(gathered, 0, size, axis=axis))
        return value._whole[0]

    def everywhere(self, x: jax.Array, axis: int) -> jax.Array:
        """What is split along an axis that the devices divide, as every device holds it whole."""
        # What is gathered is this array: said of it alone, the compiler would gather what it is computed from.
        blocks = self.constrained(x, axis, NEURON)
        meeting = self.meeting
        if meeting is None:
            return self.constrained(blocks, axis, None)

        def meet(turn: jax.Array, mine: jax.Array) -> tuple[jax.Array, jax.Array]:
            found, turn = gather(jax.lax.axis_index(NEURON), mine, turn, meeting)
            return jnp.moveaxis(found, 0, axis).reshape(x.shape), turn

        found, self.turn = self._island(meet, (None, axis), (None, None))(self.turn, blocks)
        return found

    def _island(self, f: Callable[..., Any], axes: Sequence[int | None], result: Any) -> Callable[..., Any]:
        """`f` on every device of what is its own along these axes (None: whole)."""

        def spec(axis: int | None) -> PartitionSpec:
            return PartitionSpec() if axis is None else PartitionSpec(*(None,) * axis, NEURON)

        out = tuple(map(spec, result)) if isinstance(result, tuple) else spec(result)
        return jax.shard_map(f, mesh=self.mesh, in_specs=tuple(map(spec, axes)), out_specs=out, check_vma=False)

    @contextmanager
    def within(self, turn: jax.Array | None) -> Iterator[None]:
        """Inside, a program in the program begins with this turn; what it ends with is to be returned from it."""
        before, self.turn = self.turn, turn
        try:
            yield
        finally:
            self.turn = before

    def constrained(self, x: jax.Array, axis: int, over: str | None) -> jax.Array:
        """`x` with one axis split over a mesh axis, or whole on every device; other axes stay split as they are."""
        spec: list[Any] = [self._others] * jnp.ndim(x)
        spec[axis] = over
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, PartitionSpec(*spec)))

    # ---- programs ----

    def run(self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Value]) -> list[Value]:
        """What a program returns for these arguments. A value that is used whole is gathered once, however often it is used."""
        inputs = jaxpr.all_invars if hasattr(jaxpr, "all_invars") else [*jaxpr.constvars, *jaxpr.invars]
        values: dict[Any, Value] = dict(zip(inputs, [*consts, *args], strict=True))
        for eqn in jaxpr.eqns:
            found = [x.val if isinstance(x, Literal) else values[x] for x in eqn.invars]
            name = eqn.primitive.name
            if name not in _BY_PLACE:  # a program within this one, say, has a trace of its own
                found = [self.whole(x) if isinstance(x, Counted) else x for x in found]
            with eqn.ctx.manager:
                if name in _RULES and (name in _ALWAYS or any(isinstance(x, Split) for x in found)):
                    out = _RULES[name](self, eqn, found)
                else:
                    out = bind(eqn, list(map(self.whole, found)))
            values.update(zip(eqn.outvars, out, strict=True))
        return [x.val if isinstance(x, Literal) else values[x] for x in jaxpr.outvars]

    def plain(self, value: Value) -> jax.Array:
        """The value as an array of its own size, lying wherever it lies."""
        if not isinstance(value, Split):
            return self.whole(value)
        array, (axis, size) = value.array, value.kind
        if self.turn is not None:

            def at_last(turn: jax.Array, mine: jax.Array) -> jax.Array:
                return after(mine, turn)

            array = self._island(at_last, (None, axis), axis)(self.turn, array)
        return array if array.shape[axis] == size else jax.lax.slice_in_dim(array, 0, size, axis=axis)

    def handed_out(self, array: jax.Array) -> jax.Array:
        """An array as the host gets it: whole on every process of the mesh where there are several, for each of them reads it."""
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        return array if everywhere.is_fully_addressable else jax.lax.with_sharding_constraint(array, everywhere)

    def arrays(self, values: Sequence[Value], kinds: Sequence[Kind | None]) -> list[jax.Array]:
        """Values as the arrays that a loop carries or a branch returns, split as `kinds` say."""
        return [self.whole(x) if kind is None else self.split(x, kind) for x, kind in zip(values, kinds, strict=True)]

    def kinds(self, program: ClosedJaxpr, args: Sequence[Value]) -> list[Kind | None]:
        """How the results of a program are split. The arrays of arguments may be shapes only."""
        key = id(program), tuple(map(kind_of, args))
        if key not in self._kinds:
            noted: list[Kind | None] = []

            def probe(arrays: list[Any]) -> list[jax.Array]:
                given = [x if isinstance(x, Uniform) else _with_array(x, array) for x, array in zip(args, arrays, strict=True)]
                out = self.run(program.jaxpr, program.consts, given)
                noted[:] = map(kind_of, out)
                return self.arrays(out, noted)

            with self.within(self.turn):
                jax.eval_shape(probe, [None if isinstance(x, Uniform) else _array_of(x) for x in args])
            self._kinds[key] = tuple(noted)
        return list(self._kinds[key])


def _rounded(x: jax.Array) -> jax.Array:
    """`x`, to the precision of its dtype, where blocks and whole arrays meet.

    On one device nothing is sent there, and a compiler that makes one loop of what comes before and after would join a product
    and the sum that takes it without rounding in between. It makes one instruction of no choice between two values.
    """
    return jnp.where(x != x, jnp.nan, x) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x


def fresh(values: Sequence[Value]) -> list[Value]:
    """The values for use inside a loop or branch, where nothing has been gathered yet."""
    return [_with_array(x, x.array) if isinstance(x, Split) else x for x in values]


Rule = Callable[[Blocks, Any, list[Value]], list[Value]]
_RULES: dict[str, Rule] = {}
_ALWAYS: set[str] = set()
_BY_PLACE: set[str] = set()


def rule(*names: str, always: bool = False, by_place: bool = False) -> Callable[[Rule], Rule]:
    """Registers how operations with these names act on values of which some are split.

    Args:
        always: also where none is.
        by_place: a value may be Counted; others get it whole.
    """

    def register(found: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names, found))
        if always:
            _ALWAYS.update(names)
        if by_place:
            _BY_PLACE.update(names)
        return found

    return register


def bind(eqn: Any, arrays: Sequence[jax.Array], **changed: Any) -> list[jax.Array]:
    """The operation of an equation on arrays, with some of its parameters changed."""
    out = eqn.primitive.bind(*arrays, **eqn.primitive.get_bind_params(eqn.params | changed))
    return list(out) if eqn.primitive.multiple_results else [out]


def kind_of(value: Value) -> Kind | None:
    return value.kind if isinstance(value, Split) else None


def _array_of(value: Value) -> Any:
    return value.array if isinstance(value, Split) else value


def _with_array(value: Value, array: Any) -> Value:
    return Split(array, value.kind) if isinstance(value, Split) else array


def wrapped(arrays: Sequence[Any], kinds: Sequence[Kind | None]) -> list[Value]:
    """Arrays as values that are split like this."""
    return [x if kind is None else Split(x, kind) for x, kind in zip(arrays, kinds, strict=True)]
