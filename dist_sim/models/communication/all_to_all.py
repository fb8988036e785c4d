from __future__ import annotations

from itertools import pairwise
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import Module, ParamState, State
from dist_sim.models.communication.weights import Given, added_bias, bias_of, check_last, sizes_of, values_of
from dist_sim.models.init import Groups, KaimingNormal
from dist_sim.models.rounded import rounded


@final
class AllToAll(Module):
    """Every source with every target, by one weight for all, for each pair of groups, or for each pair of neurons.

    With one weight the work is that of one sum, with G groups of sources and H of targets that of a sum of each group and of a
    product with the (G, H) matrix between them. A matrix of weights lies whole on every device, as that of `ds.nn.Linear`.

    Args:
        in_size, out_size: numbers of sources and targets, or shapes that differ in the last axis only.
        w_init: weights: one number; `ds.init.Groups`, which stays the matrix between the groups; or (from, to): an initialiser,
            an array, or a State with one.
        b_init: bias (to,), likewise; None for none.
        include_self: False leaves out the pairs of equal places.
        name: of the Module.
        param_type: the State that holds both: `ParamState` to train them.

    States: weight, a dict of "weight", (), (G, H) or (from, to), and "bias".
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
        self._groups: tuple[tuple[int, ...], tuple[int, ...]] | None
        if isinstance(w_init, Groups):
            w_init.check(*shape)
            params, self._groups = {"weight": w_init.values}, (w_init.pre, w_init.post)
        else:
            params = {"weight": values_of("AllToAll(w_init=...)", w_init, shape, scalar=True)}
            self._groups = None if u.math.ndim(params["weight"]) else (shape[:1], shape[1:])
        if b_init is not None:
            params["bias"] = bias_of("AllToAll(b_init=...)", b_init, shape[1:], params["weight"])
        self.weight = param_type(params, axes=())

    def update(self, x: Any) -> Any:
        """y (..., to), of x (..., from), spikes or numbers, which may have a unit."""
        size, targets = self.in_size[-1], self.out_size[-1]
        check_last("AllToAll", x, size)
        weight = self.weight.value["weight"]
        if self._groups is None:
            pairs = weight if self.include_self else weight * (1.0 - jnp.eye(size, targets))
            y = u.math.matmul(x, pairs)
        else:
            bare = self._between_groups(*self._groups, u.get_mantissa(x) * 1.0, u.get_mantissa(weight))
            y = u.Quantity(bare, unit=u.get_unit(x) * u.get_unit(weight))
        return added_bias("AllToAll", u.maybe_decimal(y), self.weight.value)

    def _between_groups(self, pre: tuple[int, ...], post: tuple[int, ...], x: jax.Array, weight: jax.Array) -> jax.Array:
        """(..., to): what groups of these sizes send to each other."""
        weight = weight.reshape(len(pre), len(post))
        of_pre, of_post = (np.cumsum((0, *sizes)) for sizes in (pre, post))
        sums = jnp.stack([jnp.sum(x[..., a:b], axis=-1) for a, b in pairwise(of_pre)], axis=-1)
        arrives = jnp.matmul(sums, weight)
        if self.include_self:
            parts = [jnp.broadcast_to(arrives[..., h, None], (*x.shape[:-1], n)) for h, n in enumerate(post)]
            return jnp.concatenate(parts, axis=-1)
        # A target whose own group sends too gets what the others send, and the sum of its own group without itself.
        others = jnp.matmul(sums[..., None, :] * (1.0 - jnp.eye(len(pre))), weight)
        parts = []
        for a, b in pairwise(sorted({*of_post, *of_pre[of_pre < of_post[-1]]})):
            h = int(np.searchsorted(of_post, a, "right")) - 1
            g = int(np.searchsorted(of_pre, a, "right")) - 1
            if g == len(pre):
                parts.append(jnp.broadcast_to(arrives[..., h, None], (*x.shape[:-1], b - a)))
            else:
                own = (sums[..., g, None] - x[..., a:b]) * weight[g, h]
                parts.append(rounded(others[..., g, h, None]) + rounded(own))
        return jnp.concatenate(parts, axis=-1)
