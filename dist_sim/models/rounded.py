"""What keeps the rounding of a sum of products the same in every program."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax.numpy as jnp


def rounded(product: Any) -> Any:
    """A product that goes into a sum with another one, as it is. Infinity becomes the largest number.

    Of a b + c d a compiler rounds one product and fuses the other with the sum. Which one depends on how the batch is split, and
    so would the bits. What was selected is fused with nothing, nor is its derivative.
    """
    bare, unit = jnp.asarray(u.get_mantissa(product)), u.get_unit(product)
    largest = jnp.finfo(bare.dtype).max
    return u.maybe_decimal(jnp.where(bare > largest, largest, bare) * unit)
