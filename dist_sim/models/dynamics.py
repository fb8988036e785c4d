"""What neurons and synapses have in common: a shape, inputs that others add, and what runs before and after a step."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import HiddenState, Module, State
from dist_sim.core.trace import current_trace, is_eager, is_open
from dist_sim.errors import ParameterError, UnitError, UnknownAttributeError
from dist_sim.models.delays import OutputDelayAt, Prefetch, PrefetchDelayAt
from dist_sim.models.describe import Described, Descriptor
from dist_sim.models.init import Constant, Initializer
from dist_sim.models.subpopulation import Subpopulation

Input = Callable[..., Any]
"""A current: called at every step with what :meth:`Dynamics.sum_current_inputs` is given."""


@final
class Handover:
    """A value that one part of a step leaves for a later part of the same step."""

    def __init__(self) -> None:
        self._value: Any = None
        self._trace: weakref.ref[Any] | None = None

    @property
    def is_there(self) -> bool:
        """Something was left in this step. What a step that broke off has left is not there."""
        return self._trace is not None and is_open(self._trace)

    def put(self, value: Any) -> None:
        self._value, self._trace = value, weakref.ref(current_trace())

    def look(self) -> Any:
        """The value, which stays."""
        return self._value

    def take(self) -> Any:
        """The value, which is gone then."""
        value, self._value, self._trace = self._value, None, None
        return value


class Dynamics(Module, Described):
    """A population of equal things with States, one value each.

    Calling it runs what was added to run before, then `update`, then what was added to run after.

    Args:
        in_size: how many, or the shape of the population.
        name: of the Module.

    Attributes:
        in_size, out_size, varshape: the shape of the population, a tuple.
        before_updates, after_updates: Modules (or functions) by key.

    Raises:
        ParameterError: a size below 1.
        UnknownAttributeError: an attribute that it has not, also an AttributeError.
    """

    in_size: tuple[int, ...]

    def __init__(self, in_size: int | tuple[int, ...], name: str | None = None) -> None:
        super().__init__(name)
        self.in_size = self.out_size = self.varshape = shape_of(in_size, f"{type(self).__name__}(in_size={in_size!r})")
        self.before_updates: dict[str, Any] = {}
        self.after_updates: dict[str, Any] = {}
        self._current_inputs: dict[str, Input | State | Handover] = {}
        self._delta_inputs: dict[str, Handover] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for module in self.before_updates.values():
            module()
        out = self.update(*args, **kwargs)
        for module in self.after_updates.values():
            module(out)
        return out

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") or hasattr(type(self), name):
                # A property that failed fails again, with its own error.
                return object.__getattribute__(self, name)
            where = type(self).__name__ if self.states(HiddenState) else f"{type(self).__name__} before init_all_states"
            known = {*vars(self), *dir(type(self))} - {*dir(Module)}
            raise UnknownAttributeError("attribute", name, (key for key in known if not key.startswith("_")), where)

    def __getitem__(self, index: Any) -> Subpopulation:
        """Some of them, for projections: see :class:`~dist_sim.models.subpopulation.Subpopulation`."""
        return Subpopulation(self, index)

    def add_current_input(self, key: str, inp: Any, label: str | None = None) -> None:
        """Adds a current: a function of what :meth:`sum_current_inputs` is given, called at every step; or a value.

        A value that is given outside of compiled code is a constant current, until another one is given under its key: a State
        of the population, so that compiled code sees the new one. A value of a step, given while the step is traced, flows in
        that step alone.

        Raises:
            ParameterError: another function has this key.
        """
        key = _labelled(key, label)
        known, where = self._current_inputs.get(key), f"{type(self).__name__}.add_current_input({key!r})"
        if callable(inp):
            if known is not None and known is not inp:
                raise ParameterError(f"{where}: the key is taken. Give each input its own.")
            self._current_inputs[key] = inp
        elif known is not None and not isinstance(known, State | Handover):
            raise ParameterError(f"{where}: a function has this key. Take another one.")
        elif not is_eager():
            left = known if isinstance(known, Handover) else Handover()
            left.put(inp)
            self._current_inputs[key] = left
        elif isinstance(known, State):
            known.reset_value(inp)
        else:
            self._current_inputs[key] = State(inp, axes=(..., "neuron") if u.math.ndim(inp) else ())

    def add_delta_input(self, key: str, inp: Any, label: str | None = None) -> None:
        """Adds a value to what :meth:`sum_delta_inputs` sums next, in this step: the value, or what adds it to a total.

        Raises:
            ParameterError: it was given before, and has not been used since.
        """
        handover = self._delta_inputs.setdefault(_labelled(key, label), Handover())
        if handover.is_there:
            raise ParameterError(
                f"{type(self).__name__}: {key} gives its input a second time before the first was used. In one step call each "
                "projection once, and then the population it leads to."
            )
        handover.put(inp)

    def new_delta_input(self, name: str, label: str | None = None) -> str:
        """A key for :meth:`add_delta_input` that nobody else has."""
        key, count = name, 1
        while _labelled(key, label) in self._delta_inputs:
            count += 1
            key = f"{name} {count}"
        self._delta_inputs[_labelled(key, label)] = Handover()
        return key

    @property
    def current_inputs(self) -> dict[str, Any]:
        """The currents by key, a label in front of it: functions as they are, values as they were given."""
        found = {}
        for key, current in self._current_inputs.items():
            if isinstance(current, State):
                found[key] = current.value
            elif not isinstance(current, Handover):
                found[key] = current
            elif current.is_there:
                found[key] = current.look()
        return found

    @property
    def delta_inputs(self) -> dict[str, Any]:
        """What was added since the last :meth:`sum_delta_inputs`, by key, a label in front of it."""
        return {key: handover.look() for key, handover in self._delta_inputs.items() if handover.is_there}

    def sum_current_inputs(self, init: Any, *args: Any, label: str | None = None, pop: bool = True, **kwargs: Any) -> Any:
        """`init` and all currents, functions called with the arguments; those with a label, if one is given.

        Args:
            pop: values of this step are used up by it.

        Raises:
            UnitError: a current in another unit than `init`.
        """
        for key, current in self._current_inputs.items():
            if not _has(key, label):
                continue
            if isinstance(current, State):
                value = current.value
            elif not isinstance(current, Handover):
                value = current(*args, **kwargs)
            elif current.is_there:
                value = current.take() if pop else current.look()
            else:
                continue
            init = self._added(init, value, key)
        return init

    def sum_delta_inputs(self, init: Any, *, label: str | None = None, pop: bool = True) -> Any:
        """`init` and all values that were added since the last time; those with a label, if one is given.

        Args:
            pop: they are used up by it.

        Raises:
            UnitError: a value in another unit than `init`.
        """
        for key, handover in self._delta_inputs.items():
            if _has(key, label) and handover.is_there:
                value = handover.take() if pop else handover.look()
                init = self._added(init, value, key)
        return init

    def _added(self, total: Any, value: Any, key: str) -> Any:
        try:
            return value(total) if callable(value) else total + value
        except u.UnitMismatchError:
            what = "what it adds" if callable(value) else f"{u.get_unit(value)}"
            raise UnitError(
                f"{type(self).__name__}: the input {key!r} gives {what}, added to a sum in {u.get_unit(total)}. Give its weights "
                "in that unit, or a label, and sum those of this label alone."
            ) from None

    # ---- what runs before and after a step ----

    def add_before_update(self, key: Any, fun: Any) -> None:
        """Runs a Module or function, without arguments, before every step.

        Raises:
            ParameterError: the key is taken, or something that cannot be called.
        """
        self._add_update("before", self.before_updates, key, fun)

    def add_after_update(self, key: Any, fun: Any) -> None:
        """Runs a Module or function after every step, with what the step returned. Errors: as :meth:`add_before_update`."""
        self._add_update("after", self.after_updates, key, fun)

    def get_before_update(self, key: Any) -> Any:
        """What was added under this key."""
        return self._get_update("before", self.before_updates, key)

    def get_after_update(self, key: Any) -> Any:
        """What was added under this key."""
        return self._get_update("after", self.after_updates, key)

    def has_before_update(self, key: Any) -> bool:
        return _written(key) in self.before_updates

    def has_after_update(self, key: Any) -> bool:
        return _written(key) in self.after_updates

    def align_pre(self, dyn: Any) -> Any:
        """Runs a synapse (or any Dynamics) after every step with what the step returned. Returns it.

        Args:
            dyn: the synapse; or its description, such as `ds.Expon.desc(100)`: equal ones are one synapse, and one without a size
                gets that of this population.

        Raises:
            ParameterError: something else.
        """
        if isinstance(dyn, Descriptor) and issubclass(dyn.kind, Dynamics):
            if not dyn.args and "in_size" not in dyn.kwargs:
                dyn = Descriptor(dyn.kind, in_size=self.varshape, **dyn.kwargs)
            if dyn.text not in self.after_updates:
                self.add_after_update(dyn.text, dyn())
            return self.after_updates[dyn.text]
        if not isinstance(dyn, Dynamics):
            raise ParameterError(f"{type(self).__name__}.align_pre({dyn!r:.60}): needs a synapse, or the description of one.")
        if dyn not in self.after_updates.values():
            count = sum(isinstance(module, Dynamics) for module in self.after_updates.values())
            self.add_after_update(f"{type(dyn).__name__} {count + 1}", dyn)
        return dyn

    def _add_update(self, when: str, updates: dict[str, Any], key: Any, fun: Any) -> None:
        where = f"{type(self).__name__}.add_{when}_update({key!r})"
        if not callable(fun):
            raise ParameterError(f"{where}: {fun!r:.60} cannot be called. Give a Module or a function.")
        if _written(key) in updates:
            raise ParameterError(f"{where}: the key is taken. Give each its own.")
        updates[_written(key)] = fun

    def _get_update(self, when: str, updates: dict[str, Any], key: Any) -> Any:
        if _written(key) not in updates:
            known = ", ".join(updates) or "nothing"
            raise ParameterError(f"{type(self).__name__}.get_{when}_update({key!r}): there is none. Known: {known}.")
        return updates[_written(key)]

    # ---- what projections read ----

    def prefetch(self, item: str) -> Prefetch:
        """The value of an attribute that may not exist yet, when called; `.delay.at(time)` that of a State some time ago."""
        return Prefetch(self, item)

    def prefetch_delay(self, state: str, *time_and_indices: Any, init: Any = None, interpolation: str | None = None) -> Any:
        """The value of a State some time ago, when called: see :class:`~dist_sim.models.delays.PrefetchDelayAt`."""
        return PrefetchDelayAt(self, state, *time_and_indices, delay_init=init, interpolation=interpolation)

    def output_delay(self, *time_and_indices: Any, init: Any = None, interpolation: str | None = None) -> OutputDelayAt:
        """What it returned some time ago, when called: see :class:`~dist_sim.models.delays.OutputDelayAt`."""
        return OutputDelayAt(self, *time_and_indices, delay_init=init, interpolation=interpolation)

    def initializer(self, parameter: str, given: Any, unit: Any = None) -> Callable[[tuple[int, ...]], Any]:
        """The initialiser that an argument gives: a callable of the shape, or a quantity to start from everywhere.

        Args:
            unit: it is to give; None where any will do.

        Raises:
            UnitError: it is known to give something else than `unit`.
        """
        made = given if callable(given) else Constant(given)
        if unit is not None and isinstance(made, Initializer) and not u.have_same_dim(made.unit, unit):
            raise UnitError(f"{type(self).__name__}({parameter}=...): needs the unit {unit}; got {given}, of unit {made.unit}.")
        return made

    def initial(
        self, initializer: Callable[[tuple[int, ...]], Any], unit: Any = None, batch_size: int | None = None
    ) -> HiddenState:
        """A State that starts from `initializer`, of the shape (batch_size, *in_size) or in_size.

        Args:
            unit: of the State; None for that of the initialiser.

        Raises:
            UnitError, ParameterError: a batch size below 1; an initialiser that gives another unit or shape.
        """
        model = type(self).__name__
        shape = self.in_size
        if batch_size is not None:
            shape = (*shape_of(batch_size, f"{model}.init_state(batch_size={batch_size!r})"), *shape)
        where = f"{model}: the initialiser {initializer!r:.60}"
        value = initializer(shape)
        unit = u.get_unit(value) if unit is None else unit
        value = units.checked(value, unit, where)
        if value.shape != shape:
            raise ParameterError(f"{where}: gives the shape {value.shape}, where {shape} is asked for.")
        # A float of the default precision, also where whole numbers were given.
        return HiddenState(u.maybe_decimal(jnp.asarray(value.to_decimal(unit), float) * unit))


def shape_of(size: Any, where: str) -> tuple[int, ...]:
    """A size as a shape.

    Raises:
        ParameterError: no whole number of at least 1, and no tuple of such.
    """
    try:
        shape = tuple(operator.index(n) for n in (size if np.ndim(size) else (size,)))
    except TypeError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ParameterError(f"{where}: needs a whole number of at least 1, or a tuple of such.")
    return shape


def _written(key: Any) -> str:
    """A key as paths have it."""
    return key if isinstance(key, str) else repr(key)


def _labelled(key: str, label: str | None) -> str:
    return key if label is None else f"{label} // {key}"


def _has(key: str, label: str | None) -> bool:
    return label is None or key.startswith(f"{label} // ")
