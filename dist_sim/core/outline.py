"""What `print(model)` shows: the tree, with what each State holds, how it is split and how large it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain

from jax.sharding import NamedSharding

from dist_sim.core.filters import Path
from dist_sim.core.state import State
from dist_sim.core.walk import Item, Node, dotted, members


def outline(root: Node) -> str:
    """One line per State and Module; what was shown before, by reference.

    A State: kind, dtype, shape, unit; the mesh axes that split it; its size on all devices together. So are the States of a plain
    object that a Module has, such as a table of synapses: they take room, though they are not the tree's to train or to start.
    """
    first: dict[int, Path] = {id(root): ()}
    lines = [f"{type(root).__name__}("]
    # Open Modules: their path, what is left of them, the line that opened them.
    pending: list[tuple[Path, Iterator[tuple[Path, Item]], int]] = [((), _shown(root), 0)]
    while pending:
        above, rest, opened = pending[-1]
        path, item = next(rest, (None, None))
        if path is None or item is None:
            pending.pop()
            if len(lines) == opened + 1:
                lines[-1] += ")"
            else:
                lines.append("  " * len(pending) + ")")
            continue
        title = f"{'  ' * len(pending)}{dotted(path[len(above) :])}: {type(item).__name__}"
        if id(item) in first:
            lines.append(f"{title} at {dotted(first[id(item)])}")
            continue
        first[id(item)] = path
        if isinstance(item, State):
            lines.append(f"{title} {_described(item)}")
        else:
            pending.append((path, _shown(item, path), len(lines)))
            lines.append(f"{title}(")
    return "\n".join(lines)


def _shown(node: Node, path: Path = ()) -> Iterator[tuple[Path, Item]]:
    """The members of a Module, and then the States of its plain objects."""
    plain = ((name, thing) for name, thing in vars(node).items() if not isinstance(thing, State | Node))
    aside = (
        ((*path, name, key), state)
        for name, thing in plain
        for key, state in getattr(thing, "__dict__", {}).items()
        if isinstance(state, State)
    )
    return chain(members(node, path), aside)


def _described(state: State) -> str:
    slot = state._slot
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in slot.avals)
    split = dict.fromkeys(text for sharding in slot.shardings if sharding is not None for text in _split(sharding))
    return ", ".join([str(slot), *split, _bytes(size)])


def _split(sharding: NamedSharding) -> list[str]:
    mesh = sharding.mesh
    names = [name for entry in sharding.spec for name in ((entry,) if isinstance(entry, str) else entry or ())]
    split = [f"{name}:{mesh.shape[name]}" for name in names if mesh.shape[name] > 1]
    return split or [f"whole on {mesh.size} devices"][: mesh.size > 1]


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
