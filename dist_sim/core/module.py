"""Module: a tree of States and Modules, registered by assigning them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import EllipsisType
from typing import Any

from dist_sim.core import lifecycle
from dist_sim.core.state import State
from dist_sim.errors import ParameterError

Path = tuple[str | int, ...]
Filter = type | EllipsisType | Callable[[Path, Any], bool]


class Module:
    """A model, or part of one.

    States and Modules assigned as attributes, also inside lists, tuples and dicts, belong to it. Calling it calls `update`.
    Attributes are walked in the order of their definition.
    """

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Also when called by hand, these re-bind the States that are there: compiled functions hold the objects.
        for name in ("init_state", "reset_state"):
            if name in vars(cls):
                setattr(cls, name, lifecycle.in_place(vars(cls)[name]))

    def init_state(self, batch_size: int | None = None) -> None:
        """Allocates the States of this Module (not of those inside it). To be defined by models; see init_all_states.

        Assigning a new State to an attribute that holds one gives the old one the new value.
        """

    def reset_state(self, batch_size: int | None = None) -> None:
        """Sets the States back to their start; as :meth:`init_state`, unless a model says otherwise."""
        self.init_state() if batch_size is None else self.init_state(batch_size)

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """One step of the model. To be defined by models."""
        raise NotImplementedError(f"{type(self).__name__} does not define update().")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.update(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        old = vars(self).get(name)
        value = lifecycle.rebind(old, value)
        if old is not None and old is not value:
            _let_go(old)
        for path, state in _walk(value, (name,)):
            if isinstance(state, State) and state._attribute is None:
                state._attribute = ".".join((type(self).__name__, *map(str, path)))
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _let_go(vars(self).get(name))
        object.__delattr__(self, name)

    def states(self, *filters: Filter) -> Any:
        """The States of the tree, keyed by path: `{("layers", 0, "w"): ...}`.

        A State that can be reached in several ways is there once, under the first path.

        Args:
            filters: a kind of State, a function of (path, state), or `...` for all. With several, a tuple of dicts; each
                State is in the first that it fits.
        """
        return _select({path: x for path, x in _tree(self).items() if isinstance(x, State)}, filters, "states")

    def nodes(self, *filters: Filter) -> Any:
        """The Modules of the tree, this one first under the path (), keyed by path. Filters: as :meth:`states`."""
        return _select({path: x for path, x in _tree(self).items() if isinstance(x, Module)}, filters, "nodes")

    def __repr__(self) -> str:
        return _text(self)


def _walk(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """(path, State or Module) for what an attribute holds directly, or in lists, tuples and dicts."""
    if isinstance(value, (State, Module)):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, (*path, key if isinstance(key, int) else str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _walk(item, (*path, index))


def _tree(root: Module) -> dict[Path, Any]:
    """Every State and Module under its first path, in the order of definition."""
    found: dict[Path, Any] = {(): root}
    seen = {id(root)}

    def visit(module: Module, path: Path) -> None:
        for name, attribute in vars(module).items():
            for below, item in _walk(attribute, (*path, name)):
                if id(item) not in seen:
                    seen.add(id(item))
                    found[below] = item
                    if isinstance(item, Module):
                        visit(item, below)

    visit(root, ())
    return found


def _let_go(old: Any) -> None:
    """Makes compiled functions look again for the States they touch: those of a replaced attribute may be other ones now."""
    for _, item in _walk(old, ()):
        for state in [item] if isinstance(item, State) else item.states().values():
            state._moved += 1


def _select(found: dict[Path, Any], filters: tuple[Filter, ...], where: str) -> Any:
    for wanted in filters:
        if not (wanted is ... or callable(wanted)):
            raise ParameterError(f"{where}({wanted!r}): a filter is a class, a function of (path, object), or `...` for all.")
    if not filters:
        return found
    selected: tuple[dict[Path, Any], ...] = tuple({} for _ in filters)
    for path, item in found.items():
        place = next((n for n, wanted in enumerate(filters) if _fits(wanted, path, item)), None)
        if place is not None:
            selected[place][path] = item
    return selected[0] if len(filters) == 1 else selected


def _fits(wanted: Filter, path: Path, item: Any) -> bool:
    if wanted is ...:
        return True
    return isinstance(item, wanted) if isinstance(wanted, type) else bool(wanted(path, item))


def _text(root: Module) -> str:
    first: dict[int, Path] = {}
    lines: list[str] = []

    def show(item: Any, path: Path, title: str, depth: int) -> None:
        indent = "  " * depth
        if id(item) in first:
            lines.append(f"{indent}{title}{type(item).__name__} at {_dotted(first[id(item)])}")
            return
        first[id(item)] = path
        if isinstance(item, State):
            lines.append(f"{indent}{title}{type(item).__name__} {item._slot}")
            return
        lines.append(f"{indent}{title}{type(item).__name__}(")
        opened = len(lines)
        for name, attribute in vars(item).items():
            for below, inner in _walk(attribute, (name,)):
                show(inner, (*path, *below), f"{_dotted(below)}: ", depth + 1)
        if len(lines) == opened:
            lines[-1] += ")"
        else:
            lines.append(f"{indent})")

    show(root, (), "", 0)
    return "\n".join(lines)


def _dotted(path: Path) -> str:
    return ".".join(map(str, path)) or "the root"
