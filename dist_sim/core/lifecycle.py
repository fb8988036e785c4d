"""Allocating and resetting the States of a whole model, and loading values into them; see also :mod:`dist_sim.core.rebind`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from dist_sim.core.calls import call_all
from dist_sim.core.calls import call_order as call_order
from dist_sim.core.filters import Filter, Path
from dist_sim.core.module import Module
from dist_sim.core.state import State
from dist_sim.core.transform.vmap import vmap_new_states
from dist_sim.core.walk import dotted
from dist_sim.errors import ParameterError

M = TypeVar("M", bound=Module)


def init_all_states(target: M, *init_args: Any, node_to_exclude: Filter = None, **init_kwargs: Any) -> M:
    """Allocates the States of a model: calls `init_state` of every Module in the tree. For the order see :func:`call_order`.

    May be called again at any time: States keep their identity, hooks and sharding.

    Args:
        init_args, init_kwargs: handed to every `init_state`. The first one is `batch_size`: the number of independent copies,
            the first axis of every State allocated; None for no such axis. A Module that defines no `init_state` has
            nothing to allocate.
        node_to_exclude: Modules to leave as they are; a filter of :mod:`dist_sim.core.filters`.

    Returns:
        The model.

    Raises:
        ParameterError: an `init_state` that does not take these arguments, such as one without batches. Nothing was called.
    """
    call_all(target, "init_state", init_args, init_kwargs, node_to_exclude)
    return target


def reset_all_states(target: M, *reset_args: Any, node_to_exclude: Filter = None, **reset_kwargs: Any) -> M:
    """Sets the States of a model back to their start: calls `reset_state` of every Module in the tree.

    Arguments and errors: as :func:`init_all_states`; `batch_size`, left out, stays what it was there. What was allocated by
    :func:`vmap_init_all_states` is refused: that, called again, starts all lanes anew.
    """
    call_all(target, "reset_state", reset_args, reset_kwargs, node_to_exclude)
    return target


def vmap_init_all_states(
    target: M,
    *init_args: Any,
    axis_size: int,
    node_to_exclude: Filter = None,
    state_to_exclude: Filter = None,
    state_tag: str | None = None,
    **init_kwargs: Any,
) -> M:
    """Allocates the States of a model once per lane: each gets an axis of lanes in front, and random values of its own in each.

    To be run by `transform.vmap(model, in_states=...)`. May be called again, as :func:`init_all_states`, whose other arguments,
    result and errors it has.

    Args:
        axis_size: number of lanes.
        state_to_exclude: States that stay one for all lanes; a kind, a tag, or a function of ((), state).
        state_tag: becomes the tag of the States created.
    """
    if isinstance(axis_size, bool) or not isinstance(axis_size, int) or axis_size < 1:
        raise ParameterError(f"vmap_init_all_states(axis_size={axis_size!r}): needs a positive whole number.")

    @vmap_new_states(axis_size=axis_size, state_tag=state_tag, state_to_exclude=state_to_exclude)
    def each_lane() -> None:
        call_all(target, "init_state", init_args, init_kwargs, node_to_exclude, lanes=axis_size)

    each_lane()
    return target


def assign_state_values(target: Module, *state_by_abs_path: Mapping[Any, Any]) -> tuple[list[Any], list[Path]]:
    """Loads saved values into the States of a model, in place. Either all fit and are loaded, or none is.

    Args:
        state_by_abs_path: values keyed by path, as a tuple or dotted (`"layers.0.w"`); of several dicts the last one counts.

    Returns:
        The keys for which the model has no State, and the paths of the States for which there is no value.

    Raises:
        StateValueError: another structure, shape, dtype or unit.
    """
    found = target.states()
    by_name = {dotted(path): path for path in found}
    values, unexpected = {}, []
    for key, value in {key: value for given in state_by_abs_path for key, value in given.items()}.items():
        path = key if key in found else by_name.get(dotted(key) if isinstance(key, tuple) else key)
        if path is None:
            unexpected.append(key)
        else:
            values[path] = value
    restore(found, values)
    return unexpected, [path for path in found if path not in values]


def restore(states: Mapping[Path, State], values: Mapping[Path, Any]) -> None:
    """Gives States saved values, after all of them were found to fit. Fires `restore` hooks.

    Raises:
        StateValueError: another structure, shape, dtype or unit; names the path.
    """
    fitted = {}
    for path, value in values.items():
        state = states[path]
        fitted[path] = state._slot.fit(value, _At(f"{type(state).__name__} at {dotted(path)}"))
    for path, value in fitted.items():
        states[path].restore_value(value)


class _At(NamedTuple):
    """What error messages call a State of a model."""

    label: str
