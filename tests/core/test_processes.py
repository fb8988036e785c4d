"""Every process of a run compiles the same program: the order of States depends on the program alone."""

import hashlib
import os
import subprocess
import sys
import textwrap

import pytest

BUILD = textwrap.dedent("""
    import hashlib, random, sys
    import brainunit as u, jax, jax.numpy as jnp
    import dist_sim as ds

    noise = int(sys.argv[1])
    random.seed(noise)
    litter = [ds.State(jnp.zeros(n % 5)) for n in range(noise)]  # other addresses, other hashes
    random.shuffle(litter)

    class Unit(ds.nn.Module):
        def __init__(self, size):
            super().__init__()
            self.tau = ds.ParamState(jnp.full(size, 10.0) * u.ms)
            self.V = ds.HiddenState(jnp.zeros(size) * u.mV)

        def update(self, x):
            self.V.value = self.V.value + (x - self.V.value) / self.tau.value * ds.environ.get_dt()
            return self.V.value

    class Net(ds.nn.Module):
        def __init__(self):
            super().__init__()
            self.units = {name: Unit(3 + n) for n, name in enumerate("zyxabc")}
            self.total = ds.LongTermState(jnp.zeros(()) * u.mV)

        def update(self):
            for unit in self.units.values():
                self.total.value = self.total.value + ds.transform.cond(
                    self.total.value > 0 * u.mV, lambda: unit(1 * u.mV).sum(), lambda: 0.0 * u.mV
                )

    ds.environ.set(dt=0.1 * u.ms)
    net = Net()
    step = ds.transform.jit(lambda: ds.transform.for_loop(net, length=3))
    print(hashlib.sha256(step.lower().as_text().encode()).hexdigest())
    names = {id(state): ".".join(map(str, path)) for path, state in net.states().items()}
    print([names[id(state)] for state in step.states().written])
""")


@pytest.mark.parametrize("noise", ["1", "1000"])
def test_the_same_program_in_every_process(noise):
    def build(noise, seed):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", BUILD, noise]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120).stdout

    first = build("0", "0")
    assert "units.z.V" in first and len(first.splitlines()[0]) == len(hashlib.sha256().hexdigest())
    assert build(noise, noise) == first
