"""GraphDef: the structure of a model without its States' values, and the model made again from it."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

import jax

from dist_sim.core import walk
from dist_sim.core.filters import Path
from dist_sim.core.module import Module, adopt
from dist_sim.core.state import State
from dist_sim.core.static import Static
from dist_sim.errors import ParameterError


@dataclass(frozen=True)
class ModuleRef:
    """The Module with this index. Sharing and cycles are equal indices."""

    index: int


@dataclass(frozen=True)
class StateRef:
    """The State with this index."""

    index: int


@dataclass(frozen=True)
class MethodRef:
    """A method of the Module with this index."""

    index: int
    name: str


@dataclass(frozen=True)
class Container:
    """A list, tuple, named tuple or dict. A dict's keys are those it has in Python."""

    kind: type
    keys: tuple[Any, ...]
    items: tuple[Entry, ...]


Entry = ModuleRef | StateRef | MethodRef | Container | Static


@dataclass(frozen=True)
class ModuleSpec:
    """The class of a Module and its attributes, in the order of their definition."""

    kind: type[Module]
    attributes: tuple[tuple[str, Entry], ...]


@dataclass(frozen=True)
class StateSpec:
    """Where a State is, its kind, and the structure of its value with the units; no shapes: the value may be batched."""

    path: Path
    kind: type[State]
    treedef: Any


@jax.tree_util.register_static
@dataclass(frozen=True, repr=False)
class GraphDef:
    """The structure of a model: its Modules with all that is no State, and which State is where.

    Frozen and hashable; equal for models of equal structure, also when built separately. For JAX a PyTree without leaves: an
    argument, or a static argument, of any transform.

    Attributes that are no States, Modules or containers are shared between a model and what is made from its GraphDef.
    """

    root: Entry
    modules: tuple[ModuleSpec, ...]
    states: tuple[StateSpec, ...]

    def __repr__(self) -> str:
        kind = self.modules[0].kind.__name__ if self.modules else "no Module"
        return f"GraphDef({kind}, {len(self.modules)} modules, {len(self.states)} states)"


def take_apart(root: Any) -> tuple[GraphDef, dict[Path, State]]:
    """The structure of a model, and its States by path.

    Args:
        root: a Module; or a list, tuple or dict of Modules.

    Raises:
        ParameterError: not one of these; or a model that cannot be made again: States in another kind of container, or an
            attribute that is a compiled or wrapped method of the model itself.
    """
    if not isinstance(root, (walk.Node, list, tuple, dict)):
        raise ParameterError(f"{root!r:.60} is a {type(root).__name__}; give a Module, or a list, tuple or dict of Modules.")
    found = walk.tree(root)
    modules = {path: x for path, x in found.items() if isinstance(x, Module)}
    states = {path: x for path, x in found.items() if isinstance(x, State)}
    refs: dict[int, ModuleRef | StateRef] = {id(x): ModuleRef(n) for n, x in enumerate(modules.values())}
    refs |= {id(x): StateRef(n) for n, x in enumerate(states.values())}

    def entry(value: Any, path: Path) -> Entry:
        if isinstance(value, (State, walk.Node)):
            return refs[id(value)]
        if isinstance(value, MethodType) and isinstance(ref := refs.get(id(value.__self__)), ModuleRef):
            return MethodRef(ref.index, value.__name__)
        if isinstance(value, (list, tuple, dict)):
            if _can_be_made(type(value)):
                keys, items = ((), value) if not isinstance(value, dict) else (tuple(value), value.values())
                return Container(type(value), keys, tuple(entry(item, path) for item in items))
            if next(walk.held(value), None) is not None:
                raise ParameterError(
                    f"{walk.dotted(path)} is a {type(value).__name__} of States or Modules, which cannot be made again. "
                    "Use a list, tuple, named tuple or dict."
                )
        if id(_bound_to(value)) in refs:
            raise ParameterError(
                f"{walk.dotted(path)} is a function made from a method of this model: in a copy it would still work on this one. "
                "Decorate the method in the class instead (`@ds.transform.jit` above its `def`)."
            )
        return Static(value)

    specs = tuple(
        ModuleSpec(type(module), tuple((name, entry(value, (*path, name))) for name, value in vars(module).items()))
        for path, module in modules.items()
    )
    slots = tuple(StateSpec(path, type(state), state._slot.treedef) for path, state in states.items())
    return GraphDef(entry(root, ()), specs, slots), states


def put_together(graphdef: GraphDef, states: Mapping[Path, State]) -> Any:
    """A new model of this structure, with these States."""
    # Made before they are filled: they may hold each other.
    modules = [object.__new__(spec.kind) for spec in graphdef.modules]
    by_index = [states[spec.path] for spec in graphdef.states]

    def value(entry: Entry) -> Any:
        match entry:
            case ModuleRef(index):
                return modules[index]
            case StateRef(index):
                return by_index[index]
            case MethodRef(index, name):
                return getattr(modules[index], name)
            case Container(kind, keys, items):
                made = map(value, items)
                if issubclass(kind, dict):
                    return kind(zip(keys, made, strict=True))
                return kind(*made) if hasattr(kind, "_fields") else kind(made)
            case Static():
                return entry.value

    for module, spec in zip(modules, graphdef.modules, strict=True):
        for name, entry in spec.attributes:
            # Not by setattr: these are values as the attribute holds them, not as a user gives them.
            vars(module)[name] = made = value(entry)
            adopt(module, name, made)
    return value(graphdef.root)


def _can_be_made(kind: type) -> bool:
    return kind in (list, tuple, dict, OrderedDict) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))


def _bound_to(function: Any) -> Any:
    """What a function, wrapped or partly applied, is a method of; what it is made from, if that is no function."""
    while not isinstance(function, MethodType):
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function
    return function.__self__
