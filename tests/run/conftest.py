"""Spikes to test with."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def random_spikes():
    """random_spikes(n, seed): n spikes of 50 neurons in 1000 steps, sorted by (step, id)."""

    def draw(n: int, seed: int = 0, neurons: int = 50, steps: int = 1000) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        when, who = random.integers(0, steps, n), random.integers(0, neurons, n)
        order = np.lexsort((who, when))
        return when[order], who[order]

    return draw
