"""Several hidden variables of one population in one array, along its last axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import brainunit as u
import jax.numpy as jnp

from dist_sim.core.slot import describe
from dist_sim.core.state import HiddenState
from dist_sim.errors import StateValueError, UnknownNameError

Values = Mapping[int | str, Any] | Sequence[Any]
"""By name or number; or one for each, in order."""


class HiddenGroupState(HiddenState):
    """Hidden variables of one unit, along the last axis of an array.

    Args:
        value: an array or quantity of at least two axes: (*varshape, variables).
        options: see :class:`State`.

    Attributes:
        name2index: the variables by name: "0", "1" and so on.

    Raises:
        StateValueError: fewer axes.
    """

    axes = ("batch", ..., "neuron", None)
    name2index: dict[str, int]
    name2unit: dict[str, Any]

    def __init__(self, value: Any, name: str | None = None, **options: Any) -> None:
        shape = u.math.shape(value)
        if len(shape) < 2:
            raise StateValueError(f"HiddenGroupState: needs two axes or more, the last for the variables; got {describe(value)}.")
        options.setdefault("name2index", {str(n): n for n in range(shape[-1])})
        super().__init__(value, name, **options)

    @property
    def varshape(self) -> tuple[int, ...]:
        """The shape of one variable."""
        return self.value.shape[:-1]

    @property
    def num_state(self) -> int:
        """How many variables there are."""
        return self.value.shape[-1]

    def get_value(self, item: int | str) -> Any:
        """One variable, by name or number.

        Raises:
            UnknownNameError: there is none of that name or number.
        """
        return self._with_unit(self._index(item), self.value[..., self._index(item)])

    def set_value(self, val: Values) -> None:
        """Replaces some variables.

        Raises:
            UnknownNameError: there is none of such a name or number.
            StateValueError: another shape or unit.
        """
        given = val if isinstance(val, Mapping) else dict(enumerate(val))
        whole = self.value
        unit, bare = u.get_unit(whole), u.get_mantissa(whole)
        for item, value in given.items():
            index = self._index(item)
            own = self._unit_of(index, unit)
            if u.math.shape(value) != bare.shape[:-1] or not u.have_same_dim(value, own):
                raise StateValueError(
                    f"{self.label}: the variable {item!r} is {list(bare.shape[:-1])} in {own}; got {describe(value)}."
                )
            bare = bare.at[..., index].set(jnp.asarray(u.Quantity(value).to_decimal(own), bare.dtype))
        self.value = u.maybe_decimal(u.Quantity(bare, unit=unit))

    def _unit_of(self, index: int, unit: Any) -> Any:
        return unit

    def _with_unit(self, index: int, value: Any) -> Any:
        return value

    def _index(self, item: int | str) -> int:
        names = list(self.name2index)
        if isinstance(item, int) and not isinstance(item, bool) and -len(names) <= item < len(names):
            return item % len(names)
        if item not in self.name2index:
            raise UnknownNameError("variable", item, names, self.label)
        return self.name2index[str(item)]


class HiddenTreeState(HiddenGroupState):
    """Hidden variables of one shape, each with a name and a unit of its own, as one bare array (*varshape, variables).

    Args:
        value: arrays or quantities by name; or a sequence of them, called "0", "1" and so on.
        options: see :class:`State`.

    Attributes:
        name2index, name2unit: of the variables.

    Raises:
        StateValueError: no variables, or of different shapes.
    """

    def __init__(self, value: Mapping[str, Any] | Sequence[Any], name: str | None = None, **options: Any) -> None:
        given = dict(value) if isinstance(value, Mapping) else {str(n): x for n, x in enumerate(value)}
        if len({u.math.shape(x) for x in given.values()}) != 1:
            found = ", ".join(f"{key}: {describe(x)}" for key, x in given.items()) or "none"
            raise StateValueError(f"HiddenTreeState: needs variables of one shape; got {found}.")
        options["name2index"] = {key: n for n, key in enumerate(given)}
        options["name2unit"] = {key: u.get_unit(x) for key, x in given.items()}
        super().__init__(jnp.stack([jnp.asarray(u.get_mantissa(x)) for x in given.values()], -1), name, **options)

    def _unit_of(self, index: int, unit: Any) -> Any:
        return list(self.name2unit.values())[index]

    def _with_unit(self, index: int, value: Any) -> Any:
        return u.maybe_decimal(u.Quantity(value, unit=self._unit_of(index, None)))
