"""What the fault campaigns run besides: a program of Modules with delays, short-term plasticity, random input and a trace.

As a script it says all that must be the same in the file that its argument names: the last states, the samples, the spikes.
"""

import os
import sys
from pathlib import Path

import brainunit as u
import numpy as np

import dist_sim as ds


class Net(ds.Module):
    def __init__(self, n: int = 400) -> None:
        super().__init__()
        self.n_exc = 4 * n // 5
        self.cells = ds.LIFRef(
            n, V_rest=-60 * u.mV, V_th=-50 * u.mV, V_reset=-60 * u.mV, tau=20 * u.ms, tau_ref=5 * u.ms,
            V_initializer=ds.init.Uniform(-60.0, -50.0, unit=u.mV),
        )  # fmt: skip
        self.release = ds.STP(self.n_exc, U=0.2, tau_f=100 * u.ms, tau_d=50 * u.ms)
        self.late = ds.nn.Delay(u.math.zeros(self.n_exc), entries={"late": 1.5 * u.ms})

        def onto(n_pre, weight, tau, E):
            return ds.AlignPostProj(
                comm=ds.nn.EventFixedProb(n_pre, n, conn_num=0.1, conn_weight=weight), syn=ds.Expon.desc(n, tau=tau),
                out=ds.COBA.desc(E=E), post=self.cells,
            )  # fmt: skip

        self.exc = onto(self.n_exc, 1.0 * u.siemens, 5 * u.ms, 0 * u.mV)
        self.inh = onto(n - self.n_exc, 6.7 * u.siemens, 10 * u.ms, -80 * u.mV)
        self.n = n

    def update(self) -> None:
        spikes = self.cells.get_spike()
        self.late.update(self.release(spikes[: self.n_exc]))
        self.exc(self.late.at("late") != 0.0)
        self.inh(spikes[self.n_exc :] != 0.0)
        self.cells(15 * u.mA + 10 * u.mA * ds.random.uniform(0.0, 1.0, self.n))


if __name__ == "__main__":
    ds.random.seed(3)
    with ds.use_mesh(), ds.environ.context(dt=0.1 * u.ms):
        net = ds.nn.init_all_states(Net())
        run = ds.Run(net, record={"cells": net.cells, "V": lambda: net.cells.V.value[:7]}, every=0.7 * u.ms, chunk=5 * u.ms)
    result = run.advance(ds.param("ms", 1000.0) * u.ms)
    times, neurons = result.events("cells")
    assert len(times) == result.summary["spikes"] > 100
    target = Path(sys.argv[1])
    with target.with_suffix(".tmp").open("wb") as file:
        last = {"V": net.cells.V.value.mantissa, "u": net.release.u.value, "random": ds.random.uniform(0.0, 1.0, 3)}
        found = {"trace": result.trace("V").mantissa, "times": times.mantissa, "neurons": neurons, **last}
        np.savez(file, **{name: np.asarray(value) for name, value in found.items()})
    os.replace(target.with_suffix(".tmp"), target)
