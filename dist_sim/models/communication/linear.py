from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.core import Module, ParamState, State
from dist_sim.models.communication.weights import Given, added_bias, bias_of, check_last, sizes_of, values_of
from dist_sim.models.init import KaimingNormal, ZeroInit


@final
class Linear(Module):
    """Every source with every target: y = x W + b over the last axis.

    The weights lie whole on every device: cut in pieces, a product of matrices rounds differently. For many neurons take sparse
    connectivity.

    Args:
        in_size, out_size: numbers of sources and targets, or shapes that differ in the last axis only.
        w_init: weights (from, to): an initialiser, an array, or a State with one.
        b_init: bias, likewise; None for none. Zeros without unit take that of the weights.
        w_mask: what the weights are multiplied by; an array or initialiser.
        name: of the Module.
        param_type: the State that holds both: `ParamState` to train them.

    States: weight, a dict of "weight" (from, to) and "bias" (to,).
    Raises: ParameterError, UnitError: sizes or shapes that do not fit; when called, an input of another size or unit.
    Source: names and defaults are those of brainstate 0.5, but KaimingNormal() is not truncated.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        out_size: int | tuple[int, ...],
        w_init: Given = KaimingNormal(),
        b_init: Given | None = ZeroInit(),
        w_mask: Given | None = None,
        name: str | None = None,
        param_type: type[State] = ParamState,
    ) -> None:
        super().__init__(name)
        self.in_size, self.out_size = sizes_of("Linear", in_size, out_size)
        shape = self.in_size[-1], self.out_size[-1]
        params = {"weight": values_of("Linear(w_init=...)", w_init, shape)}
        if b_init is not None:
            params["bias"] = bias_of("Linear(b_init=...)", b_init, shape[1:], params["weight"])
        self.w_mask = None if w_mask is None else State(values_of("Linear(w_mask=...)", w_mask, shape))
        self.weight = param_type(params, axes=())

    def update(self, x: Any) -> Any:
        """y (..., to), of x (..., from), spikes or numbers, which may have a unit."""
        check_last("Linear", x, self.in_size[-1])
        params = self.weight.value
        weight = params["weight"] if self.w_mask is None else params["weight"] * self.w_mask.value
        return added_bias("Linear", u.maybe_decimal(u.math.matmul(x, weight)), params)
