from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.models.init.initializer import Initializer, shape_of


@final
class Groups(Initializer):
    """One value for each pair of groups: a synapse has `values[group of its source, group of its target]`.

    As weights of `ds.nn.AllToAll` the matrix of the groups is all that is kept, and trained. `ds.nn.EventFixedProb` takes it for
    weights and for delays, and gives every synapse that of its groups. Whatever else asks gets a value for each pair of neurons.

    Args:
        values: (groups of sources, groups of targets), numbers or a quantity.
        pre, post: sizes of the groups of sources and of targets, in order of their neurons.

    Raises:
        ParameterError: values of another shape, or a size that is no whole number above 0; when used, sizes that do not add up to
            the neurons there are.

    Example: `ds.init.Groups([[1.7, 0.9], [1.0, 1.0]] * u.nS, pre=(240, 1360), post=(240, 1760))`.
    """

    def __init__(self, values: Any, pre: Sequence[int], post: Sequence[int]) -> None:
        unit = u.get_unit(values)
        self.values = u.maybe_decimal(u.Quantity(jnp.asarray(u.get_mantissa(values), float), unit=unit))
        self.pre, self.post = _sizes(pre, "pre"), _sizes(post, "post")
        found, wanted = u.math.shape(self.values), (len(self.pre), len(self.post))
        if found != wanted:
            raise ParameterError(
                f"Groups: the values have the shape {found}; pre has {wanted[0]} groups and post {wanted[1]}. Give a row for "
                f"each group of sources and a column for each of targets: {wanted}."
            )

    @property
    def unit(self) -> Any:
        return u.get_unit(self.values)

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        shape = shape_of(size)
        if len(shape) != 2:
            raise ParameterError(f"Groups: asked for values of the shape {shape}; it has them for pairs (sources, targets).")
        self.check(*shape)
        return self.between(np.arange(shape[0])[:, None], np.arange(shape[1]))

    def check(self, sources: int, targets: int) -> None:
        """Raises:
        ParameterError: the groups are those of other numbers of neurons.
        """
        for side, sizes, wanted in (("pre", self.pre, sources), ("post", self.post, targets)):
            if sum(sizes) != wanted:
                neurons = "sources" if side == "pre" else "targets"
                raise ParameterError(
                    f"Groups({side}={sizes}): that is {sum(sizes)} {neurons}; the connectivity has {wanted}. The sizes of the "
                    "groups must add up to them."
                )

    def between(self, sources: np.ndarray, targets: np.ndarray) -> Any:
        """The values of pairs of neurons, whose numbers broadcast."""
        group_of = [np.repeat(np.arange(len(sizes)), sizes) for sizes in (self.pre, self.post)]
        return self.values[group_of[0][sources], group_of[1][targets]]

    def __repr__(self) -> str:
        return f"Groups({self.values}, pre={self.pre}, post={self.post})"


def _sizes(given: Any, name: str) -> tuple[int, ...]:
    sizes = np.asarray(given)
    if sizes.ndim != 1 or not np.issubdtype(sizes.dtype, np.integer) or not (sizes > 0).all():
        raise ParameterError(f"Groups({name}={given!r:.60}): needs the size of each group, whole numbers above 0: (240, 1360).")
    return tuple(map(int, sizes))
