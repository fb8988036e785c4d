"""What the fault campaigns run besides: the COBA network as a program of Modules, with short-term plasticity, a delay for each
synapse, inhibition aligned with its sources, random input and a trace.

As a script it says all that must be the same in the file that its argument names, if there is one: the last states, the samples,
the spikes. On four devices it runs on a mesh of two by two.
"""

import os
import sys
from pathlib import Path

import brainunit as u
import jax
import numpy as np

import dist_sim as ds


class Net(ds.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.n, self.n_exc = n, 4 * n // 5
        self.cells = ds.LIFRef(
            n, V_rest=-60 * u.mV, V_th=-50 * u.mV, V_reset=-60 * u.mV, tau=20 * u.ms, tau_ref=5 * u.ms,
            V_initializer=ds.init.Uniform(-60.0, -50.0, unit=u.mV),
        )  # fmt: skip
        self.release = ds.STP(self.n_exc, U=0.2, tau_f=100 * u.ms, tau_d=50 * u.ms)
        self.exc = ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(
                self.n_exc, n, conn_num=80 / n, conn_weight=0.6 * u.siemens, conn_delay=ds.init.Uniform(0.5, 2.0, unit=u.ms)
            ),
            syn=ds.Expon.desc(n, tau=5 * u.ms), out=ds.COBA.desc(E=0 * u.mV), post=self.cells,
        )  # fmt: skip
        n_inh = n - self.n_exc
        self.inh = ds.align_pre_projection(
            syn=ds.Expon(n_inh, tau=10 * u.ms, g_initializer=ds.init.Constant(0.0)),
            comm=ds.nn.EventFixedProb(n_inh, n, conn_num=80 / n, conn_weight=6.7 * u.siemens),
            out=ds.COBA.desc(E=-80 * u.mV), post=self.cells,
        )  # fmt: skip

    def update(self) -> None:
        spikes = self.cells.get_spike()
        self.exc(self.release(spikes[: self.n_exc]))
        self.inh(spikes[self.n_exc :])
        self.cells(15 * u.mA + 10 * u.mA * ds.random.uniform(0.0, 1.0, self.n))


def mesh():
    """Of the devices of the run: two by two of four, else all along the neurons."""
    return ds.use_mesh(shape={"batch": 2, "neuron": 2}) if jax.device_count() == 4 else ds.use_mesh()


def say(found) -> None:
    """Writes what must be the same to the file of the argument, whole or not at all."""
    if len(sys.argv) == 1:
        return
    target = Path(sys.argv[1])
    with target.with_suffix(".tmp").open("wb") as file:
        np.savez(file, **{name: np.asarray(value) for name, value in found.items()})
    os.replace(target.with_suffix(".tmp"), target)


if __name__ == "__main__":
    ds.random.seed(3)
    with mesh(), ds.environ.context(dt=0.1 * u.ms):
        net = ds.nn.init_all_states(Net(ds.param("cells", 400)))
        run = ds.Run(net, record={"cells": net.cells, "V": lambda: net.cells.V.value[:7]}, every=0.7 * u.ms, chunk=5 * u.ms)
    result = run.advance(ds.param("ms", 1000.0) * u.ms)
    times, neurons = result.events("cells")
    assert len(times) == result.summary["spikes"] > 100
    last = {"V": net.cells.V.value.mantissa, "u": net.release.u.value, "random": ds.random.uniform(0.0, 1.0, 3)}
    say({"trace": result.trace("V").mantissa, "times": times.mantissa, "neurons": neurons, **last})
