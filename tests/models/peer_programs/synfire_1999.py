"""A chain of groups, with noise by SDE steps, a delay line of quantities, and input from SpikeTime (as example 108)."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from .connections import total, uniform

GROUPS, SIZE, SPIKES = 5, 60, 60


def run(brainstate, brainpy, braintools):
    brainstate.random.seed(5)
    rng = np.random.default_rng(5)

    class Population(brainpy.state.Neuron):
        def init_state(self, *args, **kwargs):
            self.V = brainstate.HiddenState(uniform(rng, -70.0, -55.0, self.varshape)(self.varshape))
            self.x = brainstate.HiddenState(u.math.zeros(self.varshape) * u.mV)
            self.y = brainstate.HiddenState(u.math.zeros(self.varshape) * u.mV)
            self.spike = brainstate.ShortTermState(u.math.zeros(self.varshape, dtype=bool))
            self.last = brainstate.ShortTermState(u.math.ones(self.varshape) * -1e7 * u.ms)

        def update(self):
            tau = 0.325 * u.ms
            t = brainstate.environ.get("t")
            x = brainstate.nn.exp_euler_step(lambda x, y: (y - x) / tau, self.x.value, self.y.value)
            y = brainstate.nn.exp_euler_step(
                lambda y: -y / tau + 25.27 * u.mV / u.ms, lambda y: 39.24 * u.mV / u.ms**0.5, self.y.value
            )
            V = brainstate.nn.exp_euler_step(lambda V, x: (x - V - 70.0 * u.mV) / (10.0 * u.ms), self.V.value, self.x.value)
            V = u.math.where(t - self.last.value < 1.0 * u.ms, self.V.value, V)
            self.x.value, self.y.value = x, y
            self.spike.value = V >= -55.0 * u.mV
            self.last.value = u.math.where(self.spike.value, t, self.last.value)
            self.V.value = u.math.where(self.spike.value, -70.0 * u.mV, V)
            return self.spike.value

    class Chain(brainpy.state.Synapse):
        def __init__(self, group):
            super().__init__(group.varshape)
            self.group = group
            info = jax.ShapeDtypeStruct(group.varshape, brainstate.environ.dftype()) * u.mV
            self.g = brainstate.nn.Delay(info, entries={"I": 5.0 * u.ms})

        def update(self, ext):
            ahead = self.group.spike.value.reshape(GROUPS, SIZE).sum(1)
            arriving = u.math.concatenate([ext.sum()[None] * 1.0, ahead[:-1] * 1.0])
            self.g.update(8.0 * u.mV * u.math.repeat(arriving, SIZE))
            steps = u.math.asarray(5.0 * u.ms / brainstate.environ.get_dt(), dtype=int)
            self.group.y.value += self.g.retrieve_at_step(steps)

    class Net(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            times = jnp.asarray(np.sort(rng.normal(20.0, 1.0, SPIKES)), jnp.float32) * u.ms
            self.ext = brainpy.state.SpikeTime(SPIKES, times=times, indices=u.math.arange(SPIKES))
            self.pop = Population(GROUPS * SIZE)
            self.syn = Chain(self.pop)

        def update(self, t, i):
            with brainstate.environ.context(t=t, i=i):
                self.syn(self.ext())
                return self.pop()

    with brainstate.environ.context(dt=0.1 * u.ms):
        net = Net()
        brainstate.nn.init_all_states(net)
        times = u.math.arange(0.0 * u.ms, 80.0 * u.ms, brainstate.environ.get_dt())
        bar = brainstate.transform.ProgressBar(10)
        spikes = brainstate.transform.for_loop(net.update, times, u.math.arange(times.size), pbar=bar)
        return {"spikes": total(spikes), "last group": total(spikes[:, -SIZE:])}
