"""The States of a tree, each once."""

from __future__ import annotations

from typing import Any, final

import jax

from dist_sim.core import State

Path = tuple[Any, ...]


@final
class UniqueStateManager:
    """The States of a PyTree, each once, under the first path that leads to it; what is no State is left out.

    Args:
        pytree: of States; None for none yet.

    Source: names are those of braintools 0.3.
    """

    def __init__(self, pytree: Any = None) -> None:
        self._found: dict[int, tuple[Path, State]] = {}
        self.pytree_structure: Any = None
        if pytree is not None:
            self.make_unique(pytree)

    def make_unique(self, pytree: Any) -> dict[Any, Any]:
        """Starts anew with the States of a tree, and returns :meth:`to_pytree`."""
        self.clear()
        self.merge_with(pytree)
        self.pytree_structure = jax.tree.structure(pytree, is_leaf=_is_state)
        return self.to_pytree()

    def merge_with(self, other_pytree: Any) -> UniqueStateManager:
        """Takes the States of another tree, too, but those that are there. Returns this one."""
        for path, leaf in jax.tree.leaves_with_path(other_pytree, is_leaf=_is_state):
            if _is_state(leaf):
                self._found.setdefault(id(leaf), (path, leaf))
        return self

    def clear(self) -> None:
        """Forgets all."""
        self._found, self.pytree_structure = {}, None

    @property
    def unique_states(self) -> list[State]:
        return [state for _, state in self._found.values()]

    @property
    def unique_paths(self) -> list[Path]:
        """Paths as JAX gives them: tuples of keys."""
        return [path for path, _ in self._found.values()]

    @property
    def num_unique_states(self) -> int:
        return len(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def get_flattened(self) -> list[tuple[Path, State]]:
        """(path, State) of all."""
        return list(self._found.values())

    def to_pytree(self) -> dict[Any, Any]:
        """Dicts inside dicts, by the keys of the paths, with the States."""
        return _nested(self.get_flattened())

    def to_pytree_value(self) -> dict[Any, Any]:
        """As :meth:`to_pytree`, with their values."""
        return _nested([(path, state.value) for path, state in self._found.values()])

    def to_dict(self) -> dict[str, State]:
        """The States by dotted path, such as `layers[0].w`."""
        return {_dotted(path): state for path, state in self._found.values()}

    def to_dict_value(self) -> dict[str, Any]:
        """As :meth:`to_dict`, with their values."""
        return {name: state.value for name, state in self.to_dict().items()}

    def get_state_by_path(self, target_path: Path) -> State | None:
        """The State under a path, or None."""
        return next((state for path, state in self._found.values() if path == target_path), None)

    def update_state(self, target_path: Path, new_state: State) -> bool:
        """Puts another State under a path. Returns whether there is such a path."""
        if self.get_state_by_path(target_path) is None:
            return False
        found = [(path, new_state if path == target_path else state) for path, state in self._found.values()]
        self._found = {id(state): (path, state) for path, state in found}
        return True


def _is_state(x: Any) -> bool:
    return isinstance(x, State)


def _key(entry: Any) -> Any:
    return getattr(entry, "key", getattr(entry, "idx", entry))


def _nested(found: list[tuple[Path, Any]]) -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for path, item in found:
        *outer, last = map(_key, path)
        inner = tree
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = item
    return tree


def _dotted(path: Path) -> str:
    parts = [f"[{entry.idx}]" if hasattr(entry, "idx") else f".{_key(entry)}" for entry in path]
    return "".join(parts).removeprefix(".")
