"""What every test shares: eight virtual CPU devices and the path of the checkout."""

import os
from pathlib import Path

# Before anything touches JAX: the laws speak of devices, and eight virtual ones stand for eight real ones.
# JAX_PLATFORMS=cuda (or tpu) in the environment runs the tests there; set here it also reaches subprocesses.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout that these tests belong to."""
    return Path(__file__).resolve().parent.parent
