"""Every kind of program lowers for accelerators, to operations that XLA has everywhere."""

import re

import brainunit as u
import numpy as np
import pytest
from accelerators.programs import NAMES, exported

import dist_sim as ds

# What XLA itself knows by these names: where values lie, and sorting and the like that it expands.
KNOWN = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "annotate_device_placement", "shape_assertion"}


@pytest.mark.parametrize("platform", ["cuda", "tpu", "rocm"])
@pytest.mark.parametrize("name", NAMES)
def test_a_program_lowers_without_calls_of_kernels(name, platform):
    text = exported(name, [platform]).mlir_module()
    called = set(re.findall(r"custom_call @(\w+)", text)) | set(re.findall(r'call_target_name = "([^"]+)"', text))
    assert "stablehlo" in text and called <= KNOWN


def test_a_call_of_a_kernel_would_be_seen():
    sim = ds.Simulator(dt=0.1 * u.ms, seed=1, backend="native")
    sim.connect(sim.create(ds.iaf_psc_exp, 10), sim.create(ds.spike_recorder))
    sim.simulate(0 * u.ms)
    zero = np.int32(0)
    text = sim._simulation.loop.advance.lower(zero, zero).as_text()
    assert set(re.findall(r"custom_call @([\w.]+)", text)) - KNOWN
