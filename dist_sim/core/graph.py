"""`ds.graph`: a model as a structure and PyTrees of arrays, for raw JAX transforms, and back.

    graphdef, params, rest = ds.graph.treefy_split(net, ds.ParamState, ...)

    @jax.jit
    def step(params, rest, x):
        net = ds.graph.treefy_merge(graphdef, params, rest)
        net(x)
        return ds.graph.treefy_states(net, ds.ParamState, ...)

    params, rest = step(params, rest, x)
    ds.graph.update_states(net, params, rest)

The tree keeps kind, name, tag, metadata and sharding of each State, the GraphDef all else: sharing, cycles, containers. A model
made again has States of its own, which belong to the trace in which it was made, and no hooks. `model` below may also be a list,
tuple or dict of models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import jax

from dist_sim.core.filters import Filter, Path, split
from dist_sim.core.graphdef import GraphDef as GraphDef
from dist_sim.core.graphdef import put_together, take_apart
from dist_sim.core.lifecycle import restore
from dist_sim.core.module import Module
from dist_sim.core.slot import describe
from dist_sim.core.state import State, StateInfo
from dist_sim.core.static import Static
from dist_sim.core.walk import dotted, held, nested
from dist_sim.core.walk import nodes as nodes
from dist_sim.core.walk import states as states
from dist_sim.errors import ParameterError, StateValueError

M = TypeVar("M")
Node = Module
"""What holds States: here every such thing is a Module, which need not define `update`."""
Tree = dict[str | int, Any]
"""Dicts inside dicts with a :class:`TreefyState` for each State: `{"layers": {0: {"w": TreefyState(...)}}}`."""


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True, eq=False)
class TreefyState:
    """The value of a State, which JAX transforms, and all else about it, which they leave alone."""

    value: Any
    info: StateInfo

    def tree_flatten(self) -> tuple[tuple[Any], Static]:
        return (self.value,), Static(self.info)

    def tree_flatten_with_keys(self) -> tuple[tuple[Any], Static]:
        return ((jax.tree_util.GetAttrKey("value"), self.value),), Static(self.info)

    @classmethod
    def tree_unflatten(cls, info: Static, children: tuple[Any]) -> TreefyState:
        return cls(children[0], info.value)


def treefy_split(model: Any, *filters: Filter) -> tuple[Any, ...]:
    """(GraphDef, tree), or with filters (GraphDef, tree for the first filter, ...).

    Raises:
        ParameterError: a State that none of the filters fits (`...` takes the rest), or a model that cannot be made again.
    """
    graphdef, found = take_apart(model)
    selected, rest = split(found, filters or (...,), "treefy_split")
    if rest:
        first = dotted(next(iter(rest)))
        raise ParameterError(
            f"treefy_split: no filter fits {first} and {len(rest) - 1} others. `...` as the last takes the rest."
        )
    return graphdef, *map(_tree, selected)


def treefy_merge(graphdef: GraphDef, *trees: Tree) -> Any:
    """The model again, with new States.

    Args:
        trees: all that `treefy_split` returned. Values may have other shapes, such as a batch in front.

    Raises:
        StateValueError: a value of another structure or unit, or a State that is missing, unknown or given twice; names the path.
    """
    given = _flat(trees)
    known = {spec.path: spec for spec in graphdef.states}
    _refuse_unknown(given, known, graphdef)
    made: dict[Path, State] = {}
    for path, spec in known.items():
        if path not in given:
            raise StateValueError(f"{dotted(path)}: in none of the trees. Give all that treefy_split returned.")
        value = given[path].value
        if jax.tree.structure(value) != spec.treedef:
            wanted = describe(jax.tree.unflatten(spec.treedef, [0.0] * spec.treedef.num_leaves)).replace("Python float", "array")
            raise StateValueError(f"{dotted(path)}: the State holds {wanted}; got {describe(value)}. Convert the value.")
        try:
            made[path] = State.from_info(given[path].info, value)
        except StateValueError as error:
            raise StateValueError(f"{dotted(path)}: {error}") from None
    return put_together(graphdef, made)


def treefy_states(model: Any, *filters: Filter) -> Any:
    """The tree; with several filters, a tuple of trees. What no filter fits is left out."""
    _, found = take_apart(model)
    selected, _ = split(found, filters or (...,), "treefy_states")
    return _tree(selected[0]) if len(selected) == 1 else tuple(map(_tree, selected))


def update_states(model: Any, *trees: Tree) -> None:
    """Gives the States of a model the values of trees, in place. Either all fit, or none is changed.

    States that are in no tree keep their value. Hooks stay; `restore` hooks fire.

    Raises:
        StateValueError: a value of another structure, shape, dtype or unit, or a State that the model has not; names the path.
    """
    found = states(model)
    given = _flat(trees)
    _refuse_unknown(given, found, model)
    restore(found, {path: leaf.value for path, leaf in given.items()})


def clone(model: M) -> M:
    """A copy with States, Modules and containers of its own; without hooks."""
    return treefy_merge(*treefy_split(model))


def pop_states(model: Module, *filters: Filter) -> Any:
    """Takes States out of a model: their attributes are gone.

    Args:
        filters: at least one.

    Returns:
        The States, as dicts inside dicts; with several filters, a tuple.

    Raises:
        ParameterError: no filter, or a State inside a list, tuple or dict. Nothing was taken out.
    """
    if not filters:
        raise ParameterError("pop_states: give a filter; `...` takes all States.")
    found, _ = split(states(model), filters, "pop_states")
    popped = {id(state) for each in found for state in each.values()}
    homes: list[tuple[Module, str]] = []
    for path, module in nodes(model).items():
        for name, value in vars(module).items():
            if id(value) in popped:
                homes.append((module, name))
            elif any(id(x) in popped for _, x in held(value)):
                raise ParameterError(f"pop_states: {dotted((*path, name))} is a container. Only attributes can be taken out.")
    for module, name in homes:
        delattr(module, name)
    taken = tuple(map(nested, found))
    return taken[0] if len(taken) == 1 else taken


def _tree(found: dict[Path, State]) -> Tree:
    return nested({path: TreefyState(state.value, state.info) for path, state in found.items()})


def _flat(trees: tuple[Tree, ...]) -> dict[Path, TreefyState]:
    found: dict[Path, TreefyState] = {}
    for path, leaf in (item for tree in trees for item in _leaves(tree, ())):
        if path in found:
            raise StateValueError(f"{dotted(path)}: is in two of the trees.")
        found[path] = leaf
    return found


def _leaves(tree: Any, path: Path) -> Iterator[tuple[Path, TreefyState]]:
    if isinstance(tree, TreefyState):
        yield path, tree
    elif isinstance(tree, dict):
        for key, below in tree.items():
            yield from _leaves(below, (*path, key))
    else:
        raise StateValueError(f"{dotted(path)}: the tree has a {type(tree).__name__} where a TreefyState or a dict belongs.")


def _refuse_unknown(given: Any, known: Any, owner: object) -> None:
    for path in given:
        if path not in known:
            names = ", ".join(map(dotted, list(known)[:10]))
            raise StateValueError(f"{dotted(path)}: no State of that path in {type(owner).__name__}. There are: {names}.")
