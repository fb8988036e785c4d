"""A program over whole arrays as a program over the blocks that devices own.

Model code is written for whole populations. Run by :class:`Blocks`, an array with a neuron axis is *split*: each device holds
one block of it, in order of global ids, padded to a multiple of 128. What acts on each neuron by itself runs on the blocks
without communication. Neurons are counted where they are, as any sum is taken that is the same in any order. Everything else
(a slice, a sum in floating point, a sort) is computed from the whole array, which is gathered once, in the same way on every
device. So nothing that a program computes depends on the number of devices: not the order of a sum, and not which elements are
the remainder of a vectorised loop, where `exp` or `tanh` round differently.

There are two ways to run it: over a mesh, with communication by the compiler (`over_mesh.py`), and on each device by itself,
where the devices of a mesh of CPUs meet (`on_device.py`). Operations that a projection brings register a rule of their own with
:func:`rule`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal
from jax.sharding import Mesh, NamedSharding

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



class PartKind(NamedTuple):
    """That a value is a part of a sum, which has this dtype."""

    dtype: Any


@final
@dataclass(eq=False)
class Part:
    """A device's part of a sum of whole numbers, which is the same in any order: it is added up over the devices, and
    converted to the dtype of its kind, where somebody needs it. What a loop puts aside is added up once, after the loop."""

    array: jax.Array
    kind: PartKind
    _whole: list[jax.Array] = field(default_factory=list)


@final
@dataclass(eq=False)
class Shard:
    """A device's part, along an axis, of an array that is placed by itself and not as neurons are: a table of synapses."""

    array: jax.Array
    axis: int


Value = Any
"""Split, Uniform, Counted, Part, Shard, or an array that every device holds whole."""

AnyKind = Kind | PartKind | None
"""How a value lies: split, as parts of a sum, or whole."""


def padded(x: jax.Array, axis: int, length: int) -> jax.Array:
    """`x` with the last of an axis repeated up to a length."""
    if (missing := length - x.shape[axis]) <= 0:
        return x
    last = jax.lax.index_in_dim(x, x.shape[axis] - 1, axis)
    return jax.lax.concatenate([x, jnp.broadcast_to(last, (*x.shape[:axis], missing, *x.shape[axis + 1 :]))], axis)


def padded_size(size: int, devices: int) -> int:
    """The length of a split axis of `size` neurons on so many devices."""
    return devices * LANES * max(1, math.ceil(size / (devices * LANES)))


class Blocks(ABC):
    """Runs a program over the devices of a mesh with the axis `neuron`. To be used inside `jax.jit`, anew in each trace.

    Attributes:
        turn: () int32, see `on_device.py`; None over a mesh. Programs within the program take it, and return it.
    """

    turn: jax.Array | None = None

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.devices = mesh.shape[NEURON]
        self._kinds: dict[Any, tuple[AnyKind, ...]] = {}

    def surroundings(self) -> AbstractContextManager[Any]:
        """What every operation is done in, besides what it was written in."""
        return nullcontext()

    # ---- values ----

    @abstractmethod
    def length(self, size: int) -> int:
        """Of a split axis of `size` neurons, as its arrays have it here."""

    @abstractmethod
    def cut(self, x: jax.Array, kind: Kind) -> jax.Array:
        """The blocks of an array that every device holds whole."""

    @abstractmethod
    def everywhere(self, x: jax.Array, axis: int) -> jax.Array:
        """What is split along an axis that the devices divide, as every device holds it whole."""

    @abstractmethod
    def total(self, numbers: jax.Array, kind: Kind, axes: Sequence[int], dtype: Any) -> Value:
        """The sum of split whole numbers along axes, of which one is that of the neurons, as numbers of a dtype."""

    @abstractmethod
    def lying(self, value: Value, sharding: NamedSharding, shape: tuple[int, ...]) -> Value:
        """A value that is to lie so. Blocks lie as they do; of other axes it is obeyed where that is possible."""

    @abstractmethod
    def places(self, dtype: Any, shape: Sequence[int], along: int, kind: Kind) -> jax.Array:
        """The blocks of an array (shape) that has at each place its number along an axis. Padding repeats the last neuron."""

    def split(self, value: Value, kind: Kind) -> jax.Array:
        """The blocks of a value."""
        if isinstance(value, Split) and value.kind == kind:
            return value.array
        if isinstance(value, Counted):
            return value.along(kind)
        if isinstance(value, Uniform):
            shape = (*value.shape[: kind.axis], self.length(kind.size), *value.shape[kind.axis + 1 :])
            return jnp.broadcast_to(value.number, shape)
        return self.cut(_rounded(self.whole(value)), kind)

    def whole(self, value: Value) -> jax.Array:
        """The value as every device holds it whole. A split one is gathered, once."""
        if isinstance(value, Uniform):
            return jnp.broadcast_to(value.number, value.shape)
        if isinstance(value, Shard):
            return self.everywhere(value.array, value.axis)
        if isinstance(value, Counted):
            return value.along(None)
        if isinstance(value, Part):
            if not value._whole:
                parts = self.everywhere(value.array[None], 0)
                value._whole.append(jnp.sum(parts, 0, parts.dtype).astype(value.kind.dtype))
            return value._whole[0]
        if not isinstance(value, Split):
            return value
        if not value._whole:
            axis, size = value.kind
            gathered = self.everywhere(_rounded(value.array), axis)
            value._whole.append(jax.lax.slice_in_dim(gathered, 0, size, axis=axis))
        return value._whole[0]

    @contextmanager
    def within(self, turn: jax.Array | None) -> Iterator[None]:
        """Inside, a program in the program begins with this turn; what it ends with is to be returned from it."""
        before, self.turn = self.turn, turn
        try:
            yield
        finally:
            self.turn = before

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
            if name not in _WITH_PARTS:
                found = [self.whole(x) if isinstance(x, Part) else x for x in found]
            with eqn.ctx.manager, self.surroundings():
                if name in _RULES and (name in _ALWAYS or any(isinstance(x, Split) for x in found)):
                    out = _RULES[name](self, eqn, found)
                else:
                    out = bind(eqn, list(map(self.whole, found)))
            values.update(zip(eqn.outvars, out, strict=True))
        return [x.val if isinstance(x, Literal) else values[x] for x in jaxpr.outvars]

    def arrays(self, values: Sequence[Value], kinds: Sequence[AnyKind]) -> list[jax.Array]:
        """Values as the arrays that a loop carries or a branch returns, lying as `kinds` say. Parts stay what they are."""

        def array(value: Value, kind: AnyKind) -> jax.Array:
            if isinstance(kind, PartKind):
                assert isinstance(value, Part)
                return value.array
            return self.whole(value) if kind is None else self.split(value, kind)

        return [array(x, kind) for x, kind in zip(values, kinds, strict=True)]

    def kinds(self, program: ClosedJaxpr, args: Sequence[Value]) -> list[AnyKind]:
        """How the results of a program lie. The arrays of arguments may be shapes only."""
        key = id(program), tuple(map(kind_of, args))
        if key not in self._kinds:
            noted: list[AnyKind] = []

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
_WITH_PARTS: set[str] = set()


def rule(*names: str, always: bool = False, by_place: bool = False, with_parts: bool = False) -> Callable[[Rule], Rule]:
    """Registers how operations with these names act on values of which some are split.

    Args:
        always: also where none is.
        by_place: a value may be Counted; others get it whole.
        with_parts: a value may be Part; others get the sum.
    """

    def register(found: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names, found))
        if always:
            _ALWAYS.update(names)
        if by_place:
            _BY_PLACE.update(names)
        if with_parts:
            _WITH_PARTS.update(names)
        return found

    return register


def bind(eqn: Any, arrays: Sequence[jax.Array], **changed: Any) -> list[jax.Array]:
    """The operation of an equation on arrays, with some of its parameters changed."""
    out = eqn.primitive.bind(*arrays, **eqn.primitive.get_bind_params(eqn.params | changed))
    return list(out) if eqn.primitive.multiple_results else [out]


def kind_of(value: Value) -> AnyKind:
    return value.kind if isinstance(value, Split | Part) else None


def _array_of(value: Value) -> Any:
    return value.array if isinstance(value, Split | Part | Shard) else value


def _with_array(value: Value, array: Any) -> Value:
    if isinstance(value, Shard):
        return Shard(array, value.axis)
    return _wrapped(array, kind_of(value))


def wrapped(arrays: Sequence[Any], kinds: Sequence[AnyKind]) -> list[Value]:
    """Arrays as values that lie like this."""
    return [_wrapped(x, kind) for x, kind in zip(arrays, kinds, strict=True)]


def _wrapped(array: Any, kind: AnyKind) -> Value:
    if isinstance(kind, PartKind):
        return Part(array, kind)
    return array if kind is None else Split(array, kind)
