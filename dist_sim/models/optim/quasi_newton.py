"""Steps from the curvature that past gradients show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import jax
import optax

from dist_sim.errors import ParameterError
from dist_sim.models.optim.optimizer import Limit, Optimizer, Rate

SEARCHES = {
    "zoom": lambda: optax.scale_by_zoom_linesearch(max_linesearch_steps=100),
    "backtracking": lambda: optax.scale_by_backtracking_linesearch(max_backtracking_steps=100),
}


@final
class LBFGS(Optimizer):
    """L-BFGS: gradients times an estimate of the inverse of the Hessian, from the last so many steps.

    A search along the line needs the loss: `update(grads, value=loss, value_fn=f)`, where f gives the loss of weights that are
    structured as they were registered, of their values.

    Args:
        memory_size: steps that are remembered.
        scale_init_precond: start from the curvature along the last step, not from 1.
        linesearch: "zoom", "backtracking", a search of optax, or None for steps of the length lr.

    Raises: ParameterError: another search.
    Source: Liu & Nocedal (1989), doi:10.1007/BF01589116; names and defaults are those of braintools 0.3.
    """

    def __init__(
        self,
        lr: Rate = 1.0,
        memory_size: int = 10,
        scale_init_precond: bool = True,
        linesearch: str | optax.GradientTransformationExtraArgs | None = None,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        if isinstance(linesearch, str) and linesearch in SEARCHES:
            search = SEARCHES[linesearch]()
        elif linesearch is None or isinstance(linesearch, optax.GradientTransformationExtraArgs):
            search = linesearch
        else:
            raise ParameterError(
                f"LBFGS(linesearch={linesearch!r:.60}): allowed are 'zoom', 'backtracking', one of optax, and None."
            )
        rule: optax.GradientTransformation = optax.scale_by_lbfgs(memory_size, scale_init_precond)
        if search is not None:
            # The search starts from a step, which has sign and rate already.
            to_step = optax.stateless(lambda updates, _: jax.tree.map(lambda x: -self.lr.rate() * x, updates))
            rule = optax.chain(rule, to_step, search)
        super().__init__(rule, lr, 0.0, grad_clip_norm, grad_clip_value, scaled=search is not None)
        self._searches = search is not None

    def update(self, grads: Any, value: Any = None, value_fn: Callable[[Any], Any] | None = None, **extra_args: Any) -> None:
        """Moves the weights once. With a search, `value` is the loss here and `value_fn` a function of the weights' values.

        Raises:
            ParameterError: a search without the loss. See also :meth:`Optimizer.update`.
        """
        if self._searches:
            if value is None or value_fn is None:
                raise ParameterError(
                    "LBFGS.update: the search along the line needs the loss: update(grads, value=..., value_fn=...)."
                )
            extra_args |= dict(value=value, grad=self.bare(grads), value_fn=lambda bare: value_fn(self.whole(bare)))
        super().update(grads, **extra_args)

    step = update
