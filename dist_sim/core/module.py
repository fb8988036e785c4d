"""Module: a tree of States and Modules, registered by assigning them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dist_sim.core import rebind, walk
from dist_sim.core.calls import call_all, does_nothing
from dist_sim.core.caught import NewStates, catch_new_states
from dist_sim.core.filters import Filter, Path
from dist_sim.core.outline import outline
from dist_sim.core.state import ParamState, State


class Module(walk.Node):
    """A model, or part of one.

    States and Modules assigned as attributes, also inside lists, tuples and dicts, belong to it. Calling it calls `update`;
    `x >> module` is `module(x)` for arrays (for quantities, call it: brainunit's `>>` hands over bare numbers). Attributes are
    walked in the order of their definition.
    """

    name: str | None = None
    # What it was last allocated for, see lifecycle.
    _batch_size: int | None = None
    _lanes: int | None = None

    __array_ufunc__ = None  # numpy leaves `array >> module` to the Module

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Also when called by hand, these re-bind the States that are there: compiled functions hold the objects.
        for name in ("init_state", "reset_state"):
            if name in vars(cls):
                setattr(cls, name, rebind.in_place(vars(cls)[name]))

    @does_nothing
    def init_state(self, batch_size: int | None = None) -> None:
        """Allocates the States of this Module (not of those inside it). To be defined by models; see init_all_states.

        Assigning a new State to an attribute that holds one gives the old one the new value.
        """

    @does_nothing
    def reset_state(self, batch_size: int | None = None) -> None:
        """Sets the States back to their start; as :meth:`init_state`, unless a model says otherwise."""
        self.init_state() if batch_size is None else self.init_state(batch_size)

    def init_all_states(
        self, *args: Any, state_tag: str | None = None, node_to_exclude: Filter = None, **kwargs: Any
    ) -> NewStates:
        """Allocates the States of the whole tree: see :func:`dist_sim.nn.init_all_states`, whose arguments and errors it has.

        Args:
            state_tag: becomes the tag of the States allocated.

        Returns:
            These States.
        """
        with catch_new_states(state_tag) as caught:
            call_all(self, "init_state", args, kwargs, node_to_exclude)
        return caught

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """One step of the model. To be defined by models."""
        raise NotImplementedError(f"{type(self).__name__} does not define update().")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.update(*args, **kwargs)

    def __rrshift__(self, x: Any) -> Any:
        return self(x)

    def __setattr__(self, name: str, value: Any) -> None:
        old = vars(self).get(name)
        value = rebind.rebind(old, value)
        if old is not None and old is not value:
            _let_go(old)
        adopt(self, name, value)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _let_go(vars(self).get(name))
        object.__delattr__(self, name)

    def states(self, *filters: Filter, allowed_hierarchy: tuple[int, int] = walk.WHOLE) -> Any:
        """The States of the tree, keyed by path: `{("layers", 0, "w"): ...}`, a PyTree for JAX.

        A State that can be reached in several ways is there once, under the first path, depth first. The keys of a dict that
        holds States are ints if all of them are, and strings otherwise.

        Args:
            filters: see :mod:`dist_sim.core.filters`. With several, a tuple of dicts; each State is in the first that it fits.
            allowed_hierarchy: the lowest and highest depth. This Module and its own States have the depth 0, the Modules that
                it holds (also in containers) and their States 1, and so on. With it, a State is found by the shortest way,
                and keyed by that.

        Raises:
            ParameterError: something that is no filter, or no pair of depths.
        """
        return walk.states(self, *filters, allowed_hierarchy=allowed_hierarchy)

    def nodes(self, *filters: Filter, allowed_hierarchy: tuple[int, int] = walk.WHOLE) -> Any:
        """The Modules of the tree, this one first under the path (), keyed by path. Arguments and errors: as :meth:`states`."""
        return walk.nodes(self, *filters, allowed_hierarchy=allowed_hierarchy)

    def state_trees(self, *filters: Filter) -> Any:
        """The States as dicts inside dicts: `{"layers": {0: {"w": ...}}}`. Filters: as :meth:`states`."""
        found = self.states(*filters)
        return tuple(map(walk.nested, found)) if len(filters) > 1 else walk.nested(found)

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, ParamState]]:
        """(dotted path, State) of the ParamStates.

        Args:
            prefix: put in front of every path.
            recurse: those of the whole tree; False for those that this Module itself holds.
        """
        found = self.states(ParamState, allowed_hierarchy=walk.WHOLE if recurse else (0, 0))
        yield from _named(found, prefix)

    def parameters(self, recurse: bool = True) -> Iterator[ParamState]:
        """The ParamStates; see :meth:`named_parameters`."""
        return (state for _, state in self.named_parameters(recurse=recurse))

    def named_param_modules(self, allowed_hierarchy: tuple[int, int] = walk.WHOLE) -> Iterator[tuple[str, ParamModule]]:
        """(dotted path, Module) of the parameters of the tree that are read through a transform: `nn.Param`."""
        yield from _named(self.nodes(ParamModule, allowed_hierarchy=allowed_hierarchy), "")

    def param_modules(self, allowed_hierarchy: tuple[int, int] = walk.WHOLE) -> Iterator[ParamModule]:
        """See :meth:`named_param_modules`."""
        return (module for _, module in self.named_param_modules(allowed_hierarchy))

    def reg_loss(self) -> Any:
        """The sum of what the regularisers of the tree's parameters add to a loss; 0 where there is none."""
        return sum((module.reg_loss() for module in self.param_modules()), 0.0)

    @contextmanager
    def param_precompute(self, allowed_hierarchy: tuple[int, int] = walk.WHOLE) -> Iterator[None]:
        """Within this context the transforms of the tree's parameters are computed only when their free numbers change."""
        found = list(self.param_modules(allowed_hierarchy))
        for module in found:
            module.cache()
        try:
            yield
        finally:
            for module in found:
                module.clear_cache()

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(dotted path, Module) of those that this Module itself holds, also in containers."""
        yield from _named(self.nodes(allowed_hierarchy=(1, 1)), "")

    def children(self) -> Iterator[Module]:
        """The Modules that this one itself holds, also in containers."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "", include_self: bool = True) -> Iterator[tuple[str, Module]]:
        """(dotted path, Module) of the whole tree, this one first under "" (or the prefix)."""
        found = self.nodes()
        if not include_self:
            del found[()]
        yield from _named(found, prefix)

    def modules(self, include_self: bool = True) -> Iterator[Module]:
        """The Modules of the whole tree, this one first."""
        return (module for _, module in self.named_modules(include_self=include_self))

    def __repr__(self) -> str:
        return outline(self)


class ParamModule(Module, ABC):
    """A Module that stands for one parameter, read by :meth:`value`. See `nn.Param`."""

    @abstractmethod
    def value(self) -> Any:
        """The parameter."""

    @abstractmethod
    def cache(self) -> Any:
        """Computes the value, and keeps it."""

    @abstractmethod
    def clear_cache(self) -> None:
        """Forgets what :meth:`cache` has kept."""

    @abstractmethod
    def reg_loss(self) -> Any:
        """What its regulariser adds to a loss."""


def adopt(module: Module, name: str, value: Any) -> None:
    """Lets error messages call the States in `value` by the attribute that holds them, if no other one did before."""
    for path, state in walk.held(value, (name,)):
        if isinstance(state, State) and state._attribute is None:
            state._attribute = ".".join((type(module).__name__, *map(str, path)))


def _let_go(old: Any) -> None:
    """Makes compiled functions look again for the States they touch: those of a replaced attribute may be other ones now."""
    for state in walk.states(old).values():
        state._moved += 1


def _named(found: dict[Path, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    start = (prefix,) if prefix else ()
    for path, item in found.items():
        yield ".".join(map(str, (*start, *path))), item
