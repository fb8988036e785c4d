"""A layer of LIF that reads out by its firing rates: Poisson inputs, one-hot targets (as example 202)."""

import brainunit as u
import jax.numpy as jnp
import numpy as np


def run(brainstate, brainpy, braintools):
    rng = np.random.default_rng(10)
    brainstate.random.seed(10)
    weights = jnp.asarray(rng.normal(0.0, 2.0 / np.sqrt(25), (25, 4)), jnp.float32)

    class SNN(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            self.l1 = brainstate.nn.Linear(25, 4, b_init=None, w_init=lambda shape, **kwargs: weights * u.mA)
            self.l2 = brainpy.state.LIF(4, V_rest=0.0 * u.mV, V_reset=0.0 * u.mV, V_th=1.0 * u.mV, tau=2.0 * u.ms)

        def update(self, x):
            return self.l2(self.l1(x))

    with brainstate.environ.context(dt=1.0 * u.ms):
        net = SNN()
        ys = jnp.asarray(rng.integers(0, 4, 32), jnp.int32)
        xs = jnp.asarray(0.1 + 0.7 * (np.arange(25) % 4 == np.asarray(ys)[:, None]), jnp.float32)

        @brainstate.transform.jit
        def loss_fun(xs, ys):
            brainstate.nn.init_all_states(net, xs.shape[0])
            spikes = brainstate.random.rand(30, *xs.shape) < xs
            rates = u.math.mean(brainstate.transform.for_loop(net.update, spikes * 1.0), axis=0)
            wanted = brainstate.nn.one_hot(ys, 4, dtype=float)
            return braintools.metric.squared_error(rates, wanted).mean(), u.math.sum(rates.argmax(1) == ys)

        params = net.states(brainstate.ParamState)
        grad_fun = brainstate.transform.grad(loss_fun, params, has_aux=True, return_value=True)
        optimizer = braintools.optim.Adam(lr=2e-2)
        optimizer.register_trainable_weights(params)

        @brainstate.transform.jit
        def train(xs, ys):
            grads, loss, correct = grad_fun(xs, ys)
            optimizer.update(grads)
            return loss, correct

        losses = [float(train(xs, ys)[0]) for _ in range(20)]
        return {"first loss": losses[0], "last loss": losses[-1], "tested": float(loss_fun(xs[:8], ys[:8])[0])}
