"""What fits into a State: the structure, shapes, dtypes and units that its first value defined, and where it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.sharding import ManualAxisType, Mesh, NamedSharding, PartitionSpec

from dist_sim.core.placement import Placement
from dist_sim.core.trace import CONCRETE, EAGER, current_trace, has_tracer
from dist_sim.errors import StateValueError, TraceContextError
from dist_sim.partition.processes import processes_of

Leaf = Any


class Labelled(Protocol):
    """What error messages name: a State."""

    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class Slot:
    """The signature of a State. Units are part of `treedef`.

    Args:
        treedef: structure of the value.
        avals: (shape, dtype) per leaf.
        shardings: sharding per leaf, or None where JAX places it.
        varying: inside shard_map, the mesh axes along which the devices hold different values, per leaf.
    """

    treedef: Any
    avals: tuple[tuple[tuple[int, ...], Any], ...]
    shardings: tuple[NamedSharding | None, ...]
    varying: tuple[frozenset[str], ...] | None = None

    def shapes(self) -> tuple[ShapedArray, ...]:
        """The leaves as JAX describes arrays."""
        if self.varying is None:
            return tuple(ShapedArray(shape, dtype) for shape, dtype in self.avals)
        whole = NamedSharding(jax.sharding.get_abstract_mesh(), PartitionSpec())
        return tuple(
            ShapedArray(shape, dtype, sharding=whole, manual_axis_type=ManualAxisType(varying=axes))
            for (shape, dtype), axes in zip(self.avals, self.varying, strict=True)
        )

    @cached_property
    def is_sharded(self) -> bool:
        return any(sharding is not None for sharding in self.shardings)

    @cached_property
    def _unit(self) -> Any:
        """The unit of a slot for one quantity, else a thing that is no unit."""
        value = self.treedef.unflatten([None] * self.treedef.num_leaves)
        return value.unit if isinstance(value, u.Quantity) and len(self.avals) == 1 else self

    def leaves(self, value: Any) -> list[Leaf]:
        return [value] if self.treedef is _ARRAY else self.treedef.flatten_up_to(value)

    def value(self, leaves: list[Leaf]) -> Any:
        return leaves[0] if self.treedef is _ARRAY else self.treedef.unflatten(leaves)

    def fit(self, value: Any, owner: Labelled) -> Any:
        """The value as the slot holds it: same structure and unit, strong dtypes.

        Python and numpy numbers, and JAX values of weak type, take the dtype of the slot where no kind is lost
        (int to float, never float to int).

        Raises:
            StateValueError: another structure, shape, dtype or unit.
        """
        if self.varying is None and (ready := self._ready(value)) is not None:
            return ready
        leaves, treedef = jax.tree.flatten(value)
        _refuse_left_behind(leaves, owner)
        if treedef != self.treedef:
            raise StateValueError(self._complaint(value, owner.label))
        fitted = []
        for leaf, (shape, dtype) in zip(leaves, self.avals, strict=True):
            leaf = _fit_leaf(leaf, shape, dtype)
            if leaf is None:
                raise StateValueError(self._complaint(value, owner.label))
            fitted.append(leaf)
        if self.varying is not None:
            fitted = [_vary(leaf, axes, owner) for leaf, axes in zip(fitted, self.varying, strict=True)]
        # Unflattened by the slot's own structure: equal units may be spelled differently (nA MOhm, mV).
        return self.value(fitted)

    def _ready(self, value: Any) -> Any:
        """What most writes are: arrays with the slot's own shapes and dtypes, and the slot's units. None for anything else."""
        if type(value) is CONCRETE:
            return value if self.treedef is _ARRAY and _is_ready(value, self.avals[0]) else None
        if type(value) is u.Quantity:
            if value.unit is not self._unit:
                return None
            leaves = [value.mantissa]
        else:
            leaves, treedef = jax.tree.flatten(value)
            if treedef != self.treedef:
                return None
        # Put together anew: a quantity, list or dict can be changed in place.
        return self.value(leaves) if all(map(_is_ready, leaves, self.avals)) else None

    def place(self, value: Any) -> Any:
        """The value where the slot's sharding wants it; inside a trace, constrained to be there."""
        leaves = self.leaves(value)
        return self.value([x if s is None else placed(x, s) for x, s in zip(leaves, self.shardings, strict=True)])

    def without_axis(self, axis: int) -> Slot:
        """The slot of one lane, where lanes lie along `axis`. The other axes stay split as they are."""
        avals, shardings = [], []
        for (shape, dtype), sharding in zip(self.avals, self.shardings, strict=True):
            at = axis % len(shape)
            spec = _spec(sharding, len(shape))
            avals.append((shape[:at] + shape[at + 1 :], dtype))
            shardings.append(_respecified(sharding, spec[:at] + spec[at + 1 :]))
        return replace(self, avals=tuple(avals), shardings=tuple(shardings))

    def with_axis(self, axis: int, size: int, split: Sequence[Any] = ()) -> Slot:
        """The slot of `size` lanes along `axis`, where this is the slot of one.

        Args:
            split: the mesh axes that split the new axis, per leaf: see :meth:`split_of`.
        """
        avals, shardings = [], []
        for n, ((shape, dtype), sharding) in enumerate(zip(self.avals, self.shardings, strict=True)):
            at = axis % (len(shape) + 1)
            spec = _spec(sharding, len(shape))
            lanes = split[n] if n < len(split) and split[n] not in spec else None
            avals.append((shape[:at] + (size,) + shape[at:], dtype))
            shardings.append(_respecified(sharding, (*spec[:at], lanes, *spec[at:])))
        return replace(self, avals=tuple(avals), shardings=tuple(shardings))

    def placed(self, placement: Placement | None, owner: Labelled) -> Slot:
        """The same slot, lying where `placement` says."""
        shapes = [shape for shape, _ in self.avals]
        return replace(self, shardings=_shardings(placement, shapes, owner))

    def split_of(self, axis: int) -> tuple[Any, ...]:
        """The mesh axes that split `axis`, per leaf; None where nothing does."""
        return tuple(_spec(sharding, len(shape))[axis] for (shape, _), sharding in zip(self.avals, self.shardings, strict=True))

    def shard(
        self, mesh: Mesh, spec: PartitionSpec | None, owner: Labelled, *, check_vma: bool
    ) -> tuple[Slot, list[PartitionSpec]]:
        """The slot of what one device of a mesh holds, and how each leaf is cut.

        Args:
            spec: how to cut every leaf; None cuts as the leaf lies, if it lies on that mesh.
            check_vma: values are checked to differ between devices only where they are cut.

        Raises:
            StateValueError: `spec` does not divide the value.
        """
        avals, specs = [], []
        for (shape, dtype), sharding in zip(self.avals, self.shardings, strict=True):
            own = sharding.spec if sharding is not None and sharding.mesh == mesh else PartitionSpec()
            specs.append(own if spec is None else spec)
            try:
                avals.append((NamedSharding(mesh, specs[-1]).shard_shape(shape), dtype))
            except ValueError:
                raise StateValueError(
                    f"{owner.label}: {specs[-1]} on a mesh of {dict(mesh.shape)} does not divide the shape {shape}."
                ) from None
        varying = tuple(frozenset(jax.tree.leaves(tuple(spec))) for spec in specs) if check_vma else None
        return Slot(self.treedef, tuple(avals), (None,) * len(avals), varying), specs

    def __str__(self) -> str:
        return describe(self.treedef.unflatten([jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in self.avals]))

    def _complaint(self, value: Any, label: str) -> str:
        return (
            f"{label} holds {self}; got {describe(value)}. A State is a slot of fixed structure, shape, dtype and unit: convert "
            "the value, or use reset_value() or reshape_allowed() to make it another slot."
        )


_ARRAY = jax.tree.structure(0)


def slot_for(value: Any, placement: Placement | None, owner: Labelled) -> tuple[Slot, Any]:
    """The slot that a first value defines, and the value as the slot holds it.

    Raises:
        StateValueError: a leaf that is no array, or one that cannot be placed.
    """
    # `-65 * u.mV` is a voltage like any other, not a count.
    value = jax.tree.map(_with_float, value, is_leaf=_is_quantity)
    leaves, treedef = jax.tree.flatten(value)
    _refuse_left_behind(leaves, owner)
    if treedef == _ARRAY:
        treedef = _ARRAY  # the one object, so that `is` finds it
    arrays = [_first_leaf(leaf, owner) for leaf in leaves]
    slot = Slot(treedef, tuple((x.shape, x.dtype) for x in arrays), _shardings(placement, [x.shape for x in arrays], owner))
    return slot, slot.value(arrays)


def describe(value: Any) -> str:
    """A value as `float32[3] mV`, containers as Python writes them."""
    return str(jax.tree.map(lambda leaf: _Text(_describe_leaf(leaf)), value, is_leaf=_is_quantity))


def unbound(x: jax.Array) -> jax.Array:
    """An array that is the same on all its devices, as one that JAX may use with arrays on any devices. Copies nothing."""
    if not x.committed:
        return x
    part = x.addressable_data(0)
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(unbound(jax.random.key_data(part)), impl=jax.random.key_impl(x))
    # JAX has no public way to say so without a copy through the host, which would wait for the program.
    return CONCRETE(part.aval, part.sharding, [part], committed=False)  # pyright: ignore[reportArgumentType]


def placed(x: jax.Array, sharding: NamedSharding) -> jax.Array:
    """An array where the sharding wants it; inside a trace, constrained to be there."""
    if current_trace() is not EAGER:
        return jax.lax.with_sharding_constraint(x, sharding)
    if x.sharding is sharding or x.sharding == sharding:
        return x
    if x.is_fully_addressable and not sharding.is_fully_addressable and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return _placed_by_all(x, sharding)
    return jax.device_put(x, sharding)


def _placed_by_all(x: jax.Array, sharding: NamedSharding) -> jax.Array:
    """An array that every process has whole. Not by device_put, which compares whole arrays and fails where shapes differ."""
    host = np.asarray(x)
    checksum = hashlib.sha256(host.tobytes()).hexdigest()[:16]
    assert isinstance(sharding.mesh, Mesh)
    processes_of(sharding.mesh).check_same(
        {"a value that every process gives a State": f"{describe(x)}#{checksum}"},
        "Every process runs the script: let it make the same values in each, from seeds that it is given.",
    )
    return jax.make_array_from_callback(x.shape, sharding, lambda at: host[at])


def _shardings(
    placement: Placement | None, shapes: Sequence[tuple[int, ...]], owner: Labelled
) -> tuple[NamedSharding | None, ...]:
    return tuple(None if placement is None else placement.leaf(n, shape, owner.label) for n, shape in enumerate(shapes))


def _spec(sharding: NamedSharding | None, rank: int) -> tuple[Any, ...]:
    """What splits each of the axes."""
    spec = () if sharding is None else tuple(sharding.spec)
    return spec + (None,) * (rank - len(spec))


def _respecified(sharding: NamedSharding | None, spec: tuple[Any, ...]) -> NamedSharding | None:
    if sharding is None:
        return None
    while spec and spec[-1] is None:
        spec = spec[:-1]
    return NamedSharding(sharding.mesh, PartitionSpec(*spec), memory_kind=sharding.memory_kind)


def _vary(leaf: Leaf, axes: frozenset[str], owner: Labelled) -> Leaf:
    """The leaf as one that differs between devices along these mesh axes, and no others."""
    varies = jax.typeof(leaf).manual_axis_type.varying
    if varies - axes:
        along = ", ".join(sorted(varies - axes))
        raise StateValueError(
            f"{owner.label}: the value written may differ between devices along the mesh axis {along}, along which the State is "
            "not split. Reduce it first (jax.lax.psum, pmax, ...), or split the State: give it a sharding, or name it in "
            "state_in_specs."
        )
    missing = tuple(sorted(axes - varies))
    return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf


def _is_quantity(x: Any) -> bool:
    return isinstance(x, u.Quantity)


def _with_float(x: Any) -> Any:
    return float(x.mantissa) * x.unit if isinstance(x, u.Quantity) and type(x.mantissa) is int else x


class _Text(str):
    __repr__ = str.__str__


def _describe_leaf(leaf: Any) -> str:
    if isinstance(leaf, u.Quantity):
        return f"{_describe_leaf(leaf.mantissa)} {leaf.unit}"
    if isinstance(leaf, (bool, int, float, complex)):
        return f"Python {type(leaf).__name__}"
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        return type(leaf).__name__
    return f"{leaf.dtype}[{','.join(str(n) for n in leaf.shape)}]"


def _refuse_left_behind(leaves: list[Leaf], owner: Labelled) -> None:
    if current_trace() is EAGER and has_tracer(leaves):
        raise TraceContextError(f"{owner.label}: the value given was left behind by a finished trace; it holds no numbers.")


def _first_leaf(leaf: Any, owner: Labelled) -> jax.Array:
    try:
        # A numpy array is copied: it could be changed behind the State's back.
        return _strong(leaf if isinstance(leaf, jax.Array) else jnp.array(leaf))
    except (TypeError, ValueError):
        raise StateValueError(
            f"{owner.label}: a State holds arrays and quantities, in any PyTree; got a {type(leaf).__name__}: {leaf!r:.60}."
        ) from None


def _is_ready(leaf: Leaf, aval: tuple[tuple[int, ...], Any]) -> bool:
    return type(leaf) is CONCRETE and leaf.dtype is aval[1] and leaf.shape == aval[0] and not leaf.weak_type


def _fit_leaf(leaf: Leaf, shape: tuple[int, ...], dtype: Any) -> Leaf | None:
    if isinstance(leaf, jax.Array):
        if leaf.shape != shape:
            return None
        weak = getattr(leaf, "weak_type", False)
        if leaf.dtype == dtype:
            return _strong(leaf) if weak else leaf
        return jax.lax.convert_element_type(leaf, dtype) if weak and _keeps_kind(leaf.dtype, dtype) else None
    if isinstance(leaf, (bool, int, float, complex, np.generic, np.ndarray)):
        given = np.asarray(leaf)
        if given.shape == shape and _keeps_kind(given.dtype, dtype):
            return jnp.array(given, dtype=dtype)
    return None


def _keeps_kind(given: Any, wanted: Any) -> bool:
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    ranks = [n for dtype in (given, wanted) for n, kind in enumerate(kinds) if jnp.issubdtype(dtype, kind)]
    return len(ranks) == 2 and ranks[0] <= ranks[1]


def _strong(x: jax.Array) -> jax.Array:
    # A weak type would change the signature of a compiled function at the second call.
    return jax.lax.convert_element_type(x, x.dtype) if getattr(x, "weak_type", False) else x
