"""Some neurons of a population, for projections that lead to them or start at them alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import Module
from dist_sim.errors import ParameterError


@final
class Subpopulation(Module):
    """Some neurons of a population: `cells[:100]`, `cells[100:]`, `cells[[3, 5, 8]]`, `cells[mask]`.

    A projection takes it as `post`: its inputs reach these neurons, and its synapses are as many. As sources they give their
    spikes, `cells[:100].get_spike()`. It has no States of its own, and is not called: the population is.

    On a mesh it is gathered in every step, as everything is that takes some neurons out of all.

    Args:
        whole: the population. index: into its shape: slices, whole numbers, arrays of them or of booleans.

    Attributes:
        in_size, out_size, varshape: the shape of what was picked.

    Raises:
        ParameterError: an index of no neuron, out of the population, or that names one twice.
    """

    def __init__(self, whole: Any, index: Any) -> None:
        super().__init__()
        self.whole = whole
        self._index = _picked(whole, index)
        self._text = ", ".join(map(_text_of, self._index))
        self.in_size = self.out_size = self.varshape = np.zeros(whole.in_size)[self._index].shape
        self.before_updates = _Keyed(whole.before_updates, self._key)
        self.after_updates = _Keyed(whole.after_updates, self._key)

    @property
    def input_unit(self) -> Any:
        """Of the currents that projections add."""
        return getattr(self.whole, "input_unit", u.mA)

    def get_spike(self, *args: Any) -> jax.Array:
        """Their spikes (..., *in_size), 0. or 1."""
        return self.of(self.whole.get_spike(*args))

    def of(self, values: Any) -> Any:
        """Theirs of values (..., *whole.in_size), which may have a unit."""
        return values[(..., *self._index)]

    def update(self, *args: Any) -> None:
        raise ParameterError(f"{type(self.whole).__name__}[{self._text}]: call the population, of which these are some neurons.")

    # ---- what projections ask of their targets ----

    def add_current_input(self, key: str, inp: Any, label: str | None = None) -> None:
        """As that of a population: a function is given what is theirs, and its current, or the value, flows into them."""

        def flowing(*args: Any) -> Any:
            mine = inp(*map(self.of, args)) if callable(inp) else inp
            shape = (*u.math.shape(args[0])[: u.math.ndim(args[0]) - len(self.whole.in_size)], *self.whole.in_size)
            bare = jnp.zeros(shape, u.get_mantissa(mine).dtype).at[(..., *self._index)].set(u.get_mantissa(mine))
            return u.maybe_decimal(u.Quantity(bare, unit=u.get_unit(mine)))

        self.whole.add_current_input(self._key(key), flowing, label)

    def new_delta_input(self, name: str, label: str | None = None) -> str:
        """A key for :meth:`add_delta_input` that nobody else has."""
        return self.whole.new_delta_input(self._key(name), label)

    def add_delta_input(self, key: str, value: Any, label: str | None = None) -> None:
        """As that of a population, of a value that is theirs, or of what adds it to their total."""

        def adding(total: Any) -> Any:
            total = total if u.math.ndim(total) else u.math.broadcast_to(total, self.whole.in_size)
            mine = self.of(total)
            return total.at[(..., *self._index)].set(value(mine) if callable(value) else mine + value)

        self.whole.add_delta_input(key, adding, label)

    def _key(self, key: str) -> str:
        return f"{key} [{self._text}]"


@final
class _Keyed:
    """Entries of a dict under keys that are made of other keys."""

    def __init__(self, entries: dict[str, Module], key: Callable[[str], str]) -> None:
        self._entries, self._key = entries, key

    def __contains__(self, key: str) -> bool:
        return self._key(key) in self._entries

    def __getitem__(self, key: str) -> Module:
        return self._entries[self._key(key)]

    def __setitem__(self, key: str, value: Module) -> None:
        self._entries[self._key(key)] = value


def _picked(whole: Any, index: Any) -> tuple[Any, ...]:
    """An index for every axis of a population: slices, or an array of numbers."""
    where = f"{type(whole).__name__}{list(whole.in_size)}[{index!r:.40}]"
    given = index if isinstance(index, tuple) else (index,)
    if len(given) > len(whole.in_size):
        raise ParameterError(f"{where}: has {len(given)} indices for {len(whole.in_size)} axes.")
    found: list[Any] = []
    for one, size in zip(given, whole.in_size, strict=False):
        if isinstance(one, slice):
            found.append(one)
            continue
        try:
            numbers = np.arange(size)[np.asarray(one)].reshape(-1)
        except (IndexError, TypeError, ValueError) as error:
            raise ParameterError(f"{where}: {error}. Give slices, numbers below {size}, or {size} booleans.") from error
        if len(np.unique(numbers)) < len(numbers):
            raise ParameterError(f"{where}: names a neuron twice.")
        found.append(numbers)
    found += [slice(None)] * (len(whole.in_size) - len(found))
    if sum(not isinstance(one, slice) for one in found) > 1:
        raise ParameterError(f"{where}: numbers along one axis at most; slices along the others.")
    if not np.zeros(whole.in_size)[tuple(found)].size:
        raise ParameterError(f"{where}: is no neuron.")
    return tuple(found)


def _text_of(index: Any) -> str:
    if isinstance(index, slice):
        return ":".join("" if n is None else str(n) for n in (index.start, index.stop, *([index.step] if index.step else [])))
    return ",".join(map(str, index.tolist()))
