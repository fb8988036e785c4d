"""Finding the States and Modules of a model: what is held by attributes, lists, tuples and dicts, and under which path."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from dist_sim.core.filters import Filter, Path, select
from dist_sim.core.state import State
from dist_sim.errors import ParameterError


class Node:
    """What a walk looks into: a Module."""


Item = State | Node

WHOLE = (0, 2**31 - 1)
"""The `allowed_hierarchy` that allows everything."""


def states(root: Any, *filters: Filter, allowed_hierarchy: tuple[int, int] = WHOLE) -> Any:
    """The States of a model, or of a list, tuple or dict of models, keyed by path. See :meth:`Module.states`."""
    return select(_found(root, State, allowed_hierarchy, "states"), filters, "states")


def nodes(root: Any, *filters: Filter, allowed_hierarchy: tuple[int, int] = WHOLE) -> Any:
    """The Modules of a model, or of a list, tuple or dict of models, keyed by path. See :meth:`Module.nodes`."""
    return select(_found(root, Node, allowed_hierarchy, "nodes"), filters, "nodes")


def held(value: Any, path: Path = ()) -> Iterator[tuple[Path, Item]]:
    """(path, State or Module) for what an attribute holds directly, or in lists, tuples and dicts."""
    if isinstance(value, (State, Node)):
        yield path, value
    elif isinstance(value, dict):
        for name, item in zip(names_of(value), value.values(), strict=True):
            yield from held(item, (*path, name))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from held(item, (*path, index))


def names_of(keys: Mapping[Hashable, Any]) -> list[str | int]:
    """What the keys of a dict are called in a path: ints if all are, else strings.

    Mixed ones would be keys that JAX cannot sort.
    """
    return [*keys] if all(isinstance(key, int) for key in keys) else [str(key) for key in keys]  # type: ignore[list-item]


def members(node: Node, path: Path = ()) -> Iterator[tuple[Path, Item]]:
    """(path, State or Module) for all attributes of a Module, in the order of their definition."""
    for name, value in vars(node).items():
        yield from held(value, (*path, name))


def tree(root: Any) -> dict[Path, Item]:
    """Every State and Module under its first path, depth first.

    Raises:
        ParameterError: a dict whose keys are different and written alike.
    """
    found: dict[Path, Item] = {}
    seen: set[int] = set()
    # A stack of open walks and no recursion: models may be deeper than Python's stack.
    pending = [held(root)]
    while pending:
        path, item = next(pending[-1], (None, None))
        if path is None or item is None:
            pending.pop()
        elif id(item) not in seen:
            if path in found:
                raise ParameterError(f"{dotted(path)}: two keys of the dict that holds it are written alike. Rename one.")
            seen.add(id(item))
            found[path] = item
            if isinstance(item, Node):
                pending.append(members(item, path))
    return found


def nested(flat: Mapping[Path, Any]) -> dict[str | int, Any]:
    """Dicts inside dicts, for a dict keyed by path."""
    root: dict[str | int, Any] = {}
    for path, item in flat.items():
        below = root
        for key in path[:-1]:
            below = below.setdefault(key, {})
        below[path[-1]] = item
    return root


def dotted(path: Path) -> str:
    return ".".join(map(str, path)) or "the root"


def _found(root: Any, kind: type, hierarchy: tuple[int, int], where: str) -> dict[Path, Any]:
    if hierarchy == WHOLE:
        return {path: x for path, x in tree(root).items() if isinstance(x, kind)}
    if not (isinstance(hierarchy, tuple) and len(hierarchy) == 2 and all(isinstance(n, int) for n in hierarchy)):
        raise ParameterError(f"{where}(allowed_hierarchy={hierarchy!r}): give two whole numbers, the lowest and highest depth.")
    low, high = hierarchy
    return {path: x for depth, path, x in _levels(root, high) if depth >= low and isinstance(x, kind)}


def _levels(root: Any, deepest: int) -> Iterator[tuple[int, Path, Item]]:
    """(depth, path, State or Module), each once, by the shortest way; the States of a Module have its depth."""
    level = list(held(root))
    seen: set[int] = set()
    depth = 0
    while level and depth <= deepest:
        below: list[tuple[Path, Item]] = []
        for path, item in level:
            if id(item) in seen:
                continue
            seen.add(id(item))
            yield depth, path, item
            if isinstance(item, Node):
                for inner_path, inner in members(item, path):
                    if isinstance(inner, Node):
                        below.append((inner_path, inner))
                    elif id(inner) not in seen:
                        seen.add(id(inner))
                        yield depth, inner_path, inner
        level, depth = below, depth + 1
