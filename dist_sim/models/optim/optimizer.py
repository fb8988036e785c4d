"""Gradient descent on States with units: what all optimizers share. The arithmetic is that of optax, on bare numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from dist_sim.core import Module, State
from dist_sim.core.lifecycle import restore
from dist_sim.core.placement import ByName, Given
from dist_sim.core.state import StateInfo
from dist_sim.core.walk import dotted
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models.optim.scheduler import LRScheduler, OptimState, checked
from dist_sim.models.optim.schedules import ConstantLR

Rate = float | LRScheduler
Limit = float | None


class Optimizer(Module):
    r"""Moves States against gradients: :math:`p := p - \eta \, d(g)`, where a rule gives the direction d.

    Weights, gradients and what is remembered of them are bare numbers to the rule: a weight in its own unit, a gradient in the
    unit of the loss per that unit. So a learning rate, a weight decay and a limit of the gradient are plain numbers.
    Memory lies as its weights do, and may be saved with them: `states()` finds all of it. Updates compile, also in a loop.

    Args:
        rule: from gradients to directions, a `GradientTransformation` of optax.
        lr: the learning rate eta >= 0, or a scheduler of it.
        weight_decay: adds so many times the weight to each gradient; see `decoupled`.
        grad_clip_norm: shrinks all gradients together to this Euclidean norm, where it is larger. Weights in different units
            are no vector; give them optimizers of their own.
        grad_clip_value: then cuts each number of a gradient to this size.
        decoupled: add the decay behind the rule, to its direction.
        scaled: the rule's results are changes of the weights already, sign and rate included.

    Raises:
        ParameterError: a number out of bounds.
    """

    def __init__(
        self,
        rule: optax.GradientTransformation,
        lr: Rate,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
        *,
        decoupled: bool = False,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        self.lr = lr if isinstance(lr, LRScheduler) else ConstantLR(checked(f"{where}(lr=...)", lr, at_least=0.0), factor=1.0)
        decay = checked(f"{where}(weight_decay=...)", weight_decay, at_least=0.0)
        parts = [] if not decay else [optax.add_decayed_weights(decay)]
        chain = [rule, *parts] if decoupled else [*parts, rule]
        if grad_clip_value is not None:
            chain.insert(0, optax.clip(checked(f"{where}(grad_clip_value=...)", grad_clip_value, above=0.0)))
        if grad_clip_norm is not None:
            chain.insert(0, optax.clip_by_global_norm(checked(f"{where}(grad_clip_norm=...)", grad_clip_norm, above=0.0)))
        self.tx = optax.with_extra_args_support(optax.chain(*chain))
        self._scaled = scaled
        self.weights: dict[str, State] = {}
        self.memory: dict[str, OptimState] = {}
        self._structure: Any = None
        self._memory_structure: Any = None
        self.step_count = OptimState(jnp.zeros((), jnp.int32))

    @property
    def current_lr(self) -> jax.Array:
        """The present learning rate."""
        return self.lr.rate()

    def register_trainable_weights(self, param_states: Any) -> Optimizer:
        """The States to move: `net.states(ds.ParamState)`, a State, or any PyTree of States. Call it once.

        Returns:
            The optimizer.

        Raises:
            ParameterError: no State, or one twice; values that are no floats; weights were registered before.
        """
        where = f"{type(self).__name__}.register_trainable_weights"
        if self.weights:
            raise ParameterError(f"{where}: weights are registered already. Give all in one call: {{'a': ..., 'b': ...}}.")
        found, self._structure = jax.tree.flatten_with_path(param_states, is_leaf=_is_state)
        weights = {_dotted(path): state for path, state in found}
        if not weights:
            raise ParameterError(f"{where}: there is no State to train. Parameters are trained when they are ParamStates.")
        for name, state in weights.items():
            _check_floats(name, state, where)
        if len({id(state) for state in weights.values()}) < len(found):
            raise ParameterError(f"{where}: a State or a name is there twice. Give each State once, under a name of its own.")
        memory, self._memory_structure = jax.tree.flatten_with_path(self.tx.init(_bare_values(weights)))
        beside = {leaf: (state, n) for name, state in weights.items() for n, leaf in enumerate(_leaf_names(name, state))}
        first = next(iter(weights.values()))
        for path, value in memory:
            state, n = beside.get(str(getattr(path[-1], "key", "")), (first, -1))
            mirrors = n >= 0 and value.shape == jax.tree.leaves(state.value)[n].shape
            self.memory[jax.tree_util.keystr(path)] = _beside(value, state, n) if mirrors else _alone(value, first)
        self.step_count = _alone(self.step_count.value, first)
        self.weights = weights
        return self

    def update(self, grads: Any, **extra_args: Any) -> None:
        """Moves the weights once.

        Args:
            grads: in the structure in which the States were registered, as `transform.grad` returns them; each in the unit of
                its weight (the default of `transform.grad`) or in that of the loss per weight (`unit_aware=True`).
            extra_args: what some rules of optax ask for, such as `value`.

        Raises:
            ParameterError: nothing was registered; gradients of another structure or shape.
            UnitError: units of neither kind, or of different losses.
        """
        where = f"{type(self).__name__}.update"
        if not self.weights:
            raise ParameterError(f"{where}: no weights yet. Call register_trainable_weights(net.states(ds.ParamState)) first.")
        try:
            trees = self._structure.flatten_up_to(grads)
        except (ValueError, TypeError) as error:
            raise ParameterError(
                f"{where}: the gradients are not structured as the States that were registered: {error}"
            ) from None
        before = self._memory_structure.unflatten([state.value for state in self.memory.values()])
        values = _bare_values(self.weights)
        changes: Any
        changes, after = self.tx.update(_bare_gradients(self.weights, trees, where), before, values, **extra_args)
        rate = 1.0 if self._scaled else -self.lr.rate()
        moved = {name: (x + rate * changes[name]).astype(x.dtype) for name, x in values.items()}
        for name, state in self.weights.items():
            structure = jax.tree.structure(state.value)
            state.value = structure.unflatten([moved[leaf] for leaf in _leaf_names(name, state)])
        for state, value in zip(self.memory.values(), self._memory_structure.flatten_up_to(after), strict=True):
            state.value = value
        self.step_count.value = self.step_count.value + 1

    step = update

    @property
    def param_states(self) -> dict[str, State]:
        """The States that were registered, by name."""
        return dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """What it and its scheduler remember, by path: values for :meth:`load_state_dict`. The weights are not among them."""
        return {dotted(path): state.value for path, state in self._own_states().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from what :meth:`state_dict` of such an optimizer gave; the weights are registered before.

        Raises:
            ParameterError: it is of another optimizer, or of other weights.
            StateValueError: a value of another shape. Nothing is loaded then.
        """
        own = {dotted(path): path for path in self._own_states()}
        if own.keys() != state_dict.keys():
            differ = ", ".join(sorted(own.keys() ^ state_dict.keys())[:5])
            raise ParameterError(
                f"{type(self).__name__}.load_state_dict: what is given and what it remembers differ in {differ}. First register "
                "the same weights, with the same kind of optimizer and scheduler."
            )
        restore(self._own_states(), {path: state_dict[name] for name, path in own.items()})

    def _own_states(self) -> dict[Any, State]:
        weights = {id(state) for state in self.weights.values()}
        return {path: state for path, state in self.states().items() if id(state) not in weights}


def _is_state(x: Any) -> bool:
    return isinstance(x, State)


def _is_quantity(x: Any) -> bool:
    return isinstance(x, u.Quantity)


def _parts(tree: Any) -> list[Any]:
    """Arrays and quantities."""
    return jax.tree.leaves(tree, is_leaf=_is_quantity)


def _dotted(path: Any) -> str:
    """What a weight is called: `layers.0.weight`."""
    keys = [getattr(entry, "key", getattr(entry, "idx", entry)) for entry in path]
    return ".".join(str(part) for key in keys for part in (key if isinstance(key, tuple) else (key,))) or "weight"


def _leaf_names(name: str, state: State) -> list[str]:
    leaves = jax.tree.leaves_with_path(state.value, is_leaf=_is_quantity)
    return [name + jax.tree_util.keystr(path) for path, _ in leaves]


def _check_floats(name: str, state: Any, where: str) -> None:
    if not isinstance(state, State):
        raise ParameterError(f"{where}: {name} is {state!r:.60}, no State. Give States, as `net.states(ds.ParamState)` does.")
    for leaf, value in zip(_leaf_names(name, state), jax.tree.leaves(state.value), strict=True):
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise ParameterError(f"{where}: {leaf} holds {value.dtype}; floats are trained.")


def _bare_values(weights: Mapping[str, State]) -> dict[str, jax.Array]:
    """Leaves of all weights by name, each in its own unit."""
    return {
        leaf: value
        for name, state in weights.items()
        for leaf, value in zip(_leaf_names(name, state), jax.tree.leaves(state.value), strict=True)
    }


def _bare_gradients(weights: Mapping[str, State], trees: Sequence[Any], where: str) -> dict[str, jax.Array]:
    """Derivatives of the loss by the bare leaves of the weights."""
    given: dict[str, Any] = {}
    units: dict[str, Any] = {}
    for (name, state), tree in zip(weights.items(), trees, strict=True):
        names, values, gradients = _leaf_names(name, state), _parts(state.value), _parts(tree)
        if [u.math.shape(g) for g in gradients] != [value.shape for value in values]:
            raise ParameterError(
                f"{where}: the gradient of {name} has the shapes {[u.math.shape(g) for g in gradients]}; needs "
                f"{[value.shape for value in values]}."
            )
        given |= zip(names, gradients, strict=True)
        units |= {leaf: u.get_unit(value) for leaf, value in zip(names, values, strict=True)}
    if all(u.have_same_dim(given[leaf], units[leaf]) for leaf in given):
        return {leaf: _in(gradient, units[leaf]) for leaf, gradient in given.items()}
    # Loss per weight: times the unit of the weight, each is in the unit of the loss.
    losses = {leaf: u.get_unit(gradient) * units[leaf] for leaf, gradient in given.items()}
    loss = next(iter(losses.values()))
    loss = u.UNITLESS if u.have_same_dim(loss, u.UNITLESS) else loss
    for leaf, own in losses.items():
        if not u.have_same_dim(own, loss):
            raise UnitError(
                f"{where}: the gradient of {leaf} is in {u.get_unit(given[leaf])}. With a loss in {loss} it must be in "
                f"{loss / units[leaf]}, as transform.grad(..., unit_aware=True) gives it; or all gradients in the units of "
                f"their weights, here {units[leaf]}."
            )
    return {leaf: _in(gradient, loss / units[leaf]) for leaf, gradient in given.items()}


def _in(x: Any, unit: Any) -> Any:
    return u.Quantity(x).to_decimal(unit)


def _beside(leaf: jax.Array, weight: State, index: int) -> OptimState:
    """A State that lies as one leaf of a weight."""
    placement = weight.info.placement
    if isinstance(placement, Given):
        lies = weight.sharding
        return OptimState(leaf, sharding=lies[index] if isinstance(lies, tuple) else lies)
    return _placed(leaf, placement)


def _alone(leaf: jax.Array, weight: State) -> OptimState:
    """A State that every device of the weight's mesh holds whole."""
    placement = weight.info.placement
    if isinstance(placement, Given):
        return OptimState(leaf, sharding=NamedSharding(placement.sharding.mesh, PartitionSpec()))
    return _placed(leaf, None if placement is None else ByName(placement.rules, ()))


def _placed(leaf: jax.Array, placement: ByName | None) -> OptimState:
    found = State.from_info(StateInfo(OptimState, None, None, (), placement), leaf)
    assert isinstance(found, OptimState)
    return found
