"""Training by surrogate gradients: a hidden layer of LIF between exponential synapses (as example 200)."""

import brainunit as u
import jax.numpy as jnp
import numpy as np


def run(brainstate, brainpy, braintools):
    rng = np.random.default_rng(8)

    def drawn(scale, unit=1.0):
        return lambda shape, **kwargs: jnp.asarray(rng.normal(0.0, scale / np.sqrt(shape[0]), shape), jnp.float32) * unit

    class SNN(brainstate.nn.Module):
        def __init__(self, num_in, num_rec, num_out):
            super().__init__()
            self.i2r = brainstate.nn.Sequential(
                brainstate.nn.Linear(num_in, num_rec, w_init=drawn(3.0, u.mA), b_init=braintools.init.ZeroInit(unit=u.mA)),
                brainpy.state.Expon(num_rec, tau=5.0 * u.ms, g_initializer=braintools.init.Constant(0.0 * u.mA)),
            )
            self.r = brainpy.state.LIF(
                num_rec, tau=20 * u.ms, V_reset=0 * u.mV, V_rest=0 * u.mV, V_th=1.0 * u.mV,
                spk_fun=braintools.surrogate.ReluGrad(),
            )
            self.r2o = brainstate.nn.Linear(num_rec, num_out, w_init=drawn(1.0))
            self.o = brainpy.state.Expon(num_out, tau=10.0 * u.ms, g_initializer=braintools.init.Constant(0.0))

        def update(self, spike):
            return self.o(self.r2o(self.r(self.i2r(spike))))

    with brainstate.environ.context(dt=1.0 * u.ms):
        net = SNN(30, 20, 2)
        x = jnp.asarray(rng.random((50, 32, 30)) < 0.05, jnp.float32)
        y = jnp.asarray(rng.random(32) < 0.5, jnp.int32)
        weights = net.states(brainstate.ParamState)
        optimizer = braintools.optim.Adam(lr=1e-2)
        optimizer.register_trainable_weights(weights)

        def loss_fn():
            out = u.math.mean(brainstate.transform.for_loop(net.update, x), axis=0)
            return braintools.metric.softmax_cross_entropy_with_integer_labels(out, y).mean()

        @brainstate.transform.jit
        def train_fn():
            brainstate.nn.init_all_states(net, batch_size=32)
            grads, loss = brainstate.transform.grad(loss_fn, weights, return_value=True)()
            optimizer.update(grads)
            return loss

        losses = [float(train_fn()) for _ in range(20)]
        return {"first loss": losses[0], "last loss": losses[-1]}
