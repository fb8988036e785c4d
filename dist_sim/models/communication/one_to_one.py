from __future__ import annotations

from typing import Any, final

from dist_sim.core import Module, ParamState, State
from dist_sim.models.communication.weights import Given, added_bias, bias_of, check_last, values_of
from dist_sim.models.dynamics import shape_of
from dist_sim.models.init import Normal


@final
class OneToOne(Module):
    """Each source with the target of its own place: y = w x + b, elementwise. Lies as its neurons do.

    Args:
        in_size: number of sources and targets, or their shape.
        w_init: weights, one number or (*in_size): an initialiser, an array, or a State with one.
        b_init: bias, likewise; None for none.
        name: of the Module.
        param_type: the State that holds both: `ParamState` to train them.

    States: weight, a dict of "weight" and "bias".
    Raises: ParameterError, UnitError: sizes or shapes that do not fit; when called, an input of another size or unit.
    Source: names and defaults are those of brainstate 0.5.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        w_init: Given = Normal(0.0, 1.0),
        b_init: Given | None = None,
        name: str | None = None,
        param_type: type[State] = ParamState,
    ) -> None:
        super().__init__(name)
        self.in_size = self.out_size = shape_of(in_size, f"OneToOne(in_size={in_size!r})")
        params = {"weight": values_of("OneToOne(w_init=...)", w_init, self.in_size, scalar=True)}
        if b_init is not None:
            params["bias"] = bias_of("OneToOne(b_init=...)", b_init, self.in_size, params["weight"])
        self.weight = param_type(params, axes=("neuron",))

    def update(self, x: Any) -> Any:
        """y, of the shape of x: (..., *in_size)."""
        check_last("OneToOne", x, self.in_size[-1])
        return added_bias("OneToOne", x * self.weight.value["weight"], self.weight.value)
