"""Filters: how States and Modules are selected by kind, tag and place.

| filter | selects |
| --- | --- |
| a class | its instances, as :class:`OfType` |
| a str | what has that tag, as :class:`WithTag` |
| `...`, True | everything |
| None, False | nothing |
| a function of (path, object) | where it is true |
| a list or tuple of filters | what fits one of them, as :class:`Any` |
"""

from __future__ import annotations

import builtins
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import EllipsisType

from dist_sim.errors import ParameterError

Path = tuple[str | int, ...]
Predicate = Callable[[Path, typing.Any], bool]
Filter = type | str | bool | EllipsisType | None | Predicate | list["Filter"] | tuple["Filter", ...]

T = typing.TypeVar("T")


@dataclass(frozen=True)
class OfType:
    """Instances of a class."""

    type: builtins.type

    def __call__(self, path: Path, x: typing.Any) -> bool:
        return isinstance(x, self.type)


@dataclass(frozen=True)
class WithTag:
    """States, or Modules, whose attribute `tag` is this."""

    tag: str

    def __call__(self, path: Path, x: typing.Any) -> bool:
        return getattr(x, "tag", None) == self.tag


@dataclass(frozen=True)
class PathContains:
    """What lies below an attribute, index or key of this name, or has it."""

    key: str | int

    def __call__(self, path: Path, x: typing.Any) -> bool:
        return self.key in path


@dataclass(frozen=True)
class Not:
    """What another filter leaves."""

    filter: Filter

    def __post_init__(self) -> None:
        to_predicate(self.filter, "Not")

    def __call__(self, path: Path, x: typing.Any) -> bool:
        return not to_predicate(self.filter)(path, x)


@dataclass(frozen=True, init=False)
class All:
    """What fits every one of the filters; everything, if there are none."""

    filters: tuple[Filter, ...]

    def __init__(self, *filters: Filter) -> None:
        _refuse_others(filters, "All")
        object.__setattr__(self, "filters", filters)

    def __call__(self, path: Path, x: typing.Any) -> bool:
        return all(to_predicate(each)(path, x) for each in self.filters)


@dataclass(frozen=True, init=False)
class Any:
    """What fits one of the filters; nothing, if there are none."""

    filters: tuple[Filter, ...]

    def __init__(self, *filters: Filter) -> None:
        _refuse_others(filters, "Any")
        object.__setattr__(self, "filters", filters)

    def __call__(self, path: Path, x: typing.Any) -> bool:
        return any(to_predicate(each)(path, x) for each in self.filters)


def to_predicate(wanted: Filter, where: str = "filter") -> Predicate:
    """A filter as a function of (path, object).

    Raises:
        ParameterError: something that is no filter.
    """
    if isinstance(wanted, type):
        return OfType(wanted)
    if isinstance(wanted, str):
        return WithTag(wanted)
    if wanted is ... or wanted is True:
        return All()
    if wanted is None or wanted is False:
        return Any()
    if isinstance(wanted, (list, tuple)):
        return Any(*wanted)
    if callable(wanted):
        return wanted
    raise ParameterError(
        f"{where}({wanted!r}): a filter is a class, a tag, a function of (path, object), `...` for all, or a list of these."
    )


def split(found: Mapping[Path, T], filters: Iterable[Filter], where: str) -> tuple[list[dict[Path, T]], dict[Path, T]]:
    """A dict for each filter, and what fits none. Each object is in the first that it fits.

    Raises:
        ParameterError: something that is no filter.
    """
    predicates = [to_predicate(wanted, where) for wanted in filters]
    selected: list[dict[Path, T]] = [{} for _ in predicates]
    rest: dict[Path, T] = {}
    for path, x in found.items():
        place = next((n for n, fits in enumerate(predicates) if fits(path, x)), None)
        (rest if place is None else selected[place])[path] = x
    return selected, rest


def select(found: dict[Path, T], filters: tuple[Filter, ...], where: str) -> typing.Any:
    """All for no filter, a dict for one, a tuple of dicts for several."""
    if not filters:
        return found
    selected, _ = split(found, filters, where)
    return selected[0] if len(filters) == 1 else tuple(selected)


def _refuse_others(filters: Iterable[Filter], where: str) -> None:
    for each in filters:
        to_predicate(each, where)
