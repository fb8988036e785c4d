"""Weights that are the same in every library."""

import brainunit as u
import jax.numpy as jnp
import numpy as np


def fixed_prob(brainstate, rng, pre, post, prob, weight):
    """Each pair with a probability: a dense layer, so that two libraries have the same network."""
    there = jnp.asarray(rng.random((pre, post)) < prob, jnp.float32)
    return brainstate.nn.Linear(pre, post, w_init=lambda shape: there * weight, b_init=None)


def uniform(rng, low, high, size, unit=u.mV):
    values = jnp.asarray(rng.uniform(low, high, size), jnp.float32)
    return lambda shape, **kwargs: values * unit


def total(spikes):
    return float(np.asarray(spikes).astype(np.float64).sum())
