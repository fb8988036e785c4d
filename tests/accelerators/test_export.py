"""Every kind of program lowers for accelerators, to operations that XLA has everywhere."""

import re

import brainunit as u
import numpy as np
import pytest
from accelerators.programs import NAMES, SIMULATED, exported

import dist_sim as ds

# What XLA itself knows by these names: where values lie, and sorting and the like that it expands.
KNOWN = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "annotate_device_placement", "shape_assertion"}


@pytest.mark.parametrize("platform", ["cuda", "tpu", "rocm"])
@pytest.mark.parametrize("name", NAMES)
def test_a_program_lowers_without_calls_of_kernels(name, platform):
    text = exported(name, [platform]).mlir_module()
    called = set(re.findall(r"custom_call @(\w+)", text)) | set(re.findall(r'call_target_name = "([^"]+)"', text))
    assert "stablehlo" in text and called <= KNOWN


@pytest.mark.parametrize("name", [name for name in SIMULATED if name != "linear_64"])
def test_quotients_and_roots_are_not_left_to_a_gpu(name):
    """Those of 32 bits are approximations there, see kernels/scalar/rounded.py."""
    text = exported(name, ["cuda"]).mlir_module()
    found = re.findall(r"stablehlo\.(divide|sqrt|rsqrt|exponential|log|power|tanh|sine|cosine)\b.*[x<](f32|f64)>", text)
    assert {f for _, f in found} <= {"f64"} and {what for what, _ in found} <= {"divide", "sqrt"}
    assert not found or name in ("adaptive", "stdp", "drawn")
    assert found or name != "drawn"


def test_a_call_of_a_kernel_would_be_seen():
    sim = ds.Simulator(dt=0.1 * u.ms, seed=1, backend="native")
    sim.connect(sim.create(ds.iaf_psc_exp, 10), sim.create(ds.spike_recorder))
    sim.simulate(0 * u.ms)
    zero = np.int32(0)
    text = sim._simulation.loop.advance.lower(zero, zero).as_text()
    assert set(re.findall(r"custom_call @([\w.]+)", text)) - KNOWN
