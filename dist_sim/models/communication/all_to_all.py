from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import Module, ParamState, State
from dist_sim.models.communication.weights import Given, added_bias, bias_of, check_last, sizes_of, values_of
from dist_sim.models.init import KaimingNormal


@final
class AllToAll(Module):
    """Every source with every target, by one weight for all or one for each pair; with or without each with itself.

    With one weight the work is that of one sum. A matrix of weights lies whole on every device, as that of `ds.nn.Linear`.

    Args:
        in_size, out_size: numbers of sources and targets, or shapes that differ in the last axis only.
        w_init: weights, one number or (from, to): an initialiser, an array, or a State with one.
        b_init: bias (to,), likewise; None for none.
        include_self: False leaves out the pairs of equal places.
        name: of the Module.
        param_type: the State that holds both: `ParamState` to train them.

    States: weight, a dict of "weight" and "bias".
    Raises: ParameterError, UnitError: sizes or shapes that do not fit; when called, an input of another size or unit.
    Source: names and defaults are those of brainstate 0.5.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        out_size: int | tuple[int, ...],
        w_init: Given = KaimingNormal(),
        b_init: Given | None = None,
        include_self: bool = True,
        name: str | None = None,
        param_type: type[State] = ParamState,
    ) -> None:
        super().__init__(name)
        self.in_size, self.out_size = sizes_of("AllToAll", in_size, out_size)
        self.include_self = include_self
        shape = self.in_size[-1], self.out_size[-1]
        params = {"weight": values_of("AllToAll(w_init=...)", w_init, shape, scalar=True)}
        if b_init is not None:
            params["bias"] = bias_of("AllToAll(b_init=...)", b_init, shape[1:], params["weight"])
        self.weight = param_type(params, axes=())

    def update(self, x: Any) -> Any:
        """y (..., to), of x (..., from), spikes or numbers, which may have a unit."""
        size, targets = self.in_size[-1], self.out_size[-1]
        check_last("AllToAll", x, size)
        weight = self.weight.value["weight"]
        if u.math.ndim(weight):
            pairs = weight if self.include_self else weight * (1.0 - jnp.eye(size, targets))
            y = u.math.matmul(x, pairs)
        else:
            x = x * 1.0
            sums = u.math.broadcast_to(u.math.sum(x, axis=-1, keepdims=True), (*u.math.shape(x)[:-1], targets))
            if not self.include_self:
                own = u.math.zeros_like(sums)
                both = min(size, targets)
                own = u.math.concatenate([x[..., :both], own[..., both:]], axis=-1)
                sums = sums - own
            y = sums * weight
        return added_bias("AllToAll", u.maybe_decimal(y), self.weight.value)
