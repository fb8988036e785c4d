"""Images as latencies, batches of two sizes, and a penalty on spikes; a scheduler steps by epochs (as example 201)."""

import brainunit as u
import jax.numpy as jnp
import numpy as np


def run(brainstate, brainpy, braintools):
    rng = np.random.default_rng(9)

    def drawn(scale):
        return lambda shape, **kwargs: jnp.asarray(rng.normal(0.0, scale / np.sqrt(shape[0]), shape), jnp.float32)

    class SNN(brainstate.nn.DynamicsGroup):
        def __init__(self, num_in, num_rec, num_out):
            super().__init__()
            zero = braintools.init.ZeroInit()
            self.i2r = brainstate.nn.Sequential(
                brainstate.nn.Linear(num_in, num_rec, w_init=drawn(6.0)),
                brainpy.state.Expon(num_rec, tau=10.0 * u.ms, g_initializer=zero),
            )
            self.r = brainpy.state.LIF(num_rec, tau=10 * u.ms, V_reset=0 * u.mV, V_rest=0 * u.mV, V_th=1.0 * u.mV)
            self.r2o = brainstate.nn.Sequential(
                brainstate.nn.Linear(num_rec, num_out, w_init=drawn(1.5)),
                brainpy.state.Expon(num_out, tau=10.0 * u.ms, g_initializer=zero),
            )

        def update(self, spikes):
            r_spikes = self.r(self.i2r(spikes) * u.mA)
            return self.r2o(r_spikes), r_spikes

    with brainstate.environ.context(dt=1.0 * u.ms):
        net = SNN(25, 20, 4)
        encoder = braintools.LatencyEncoder(tau=40 * u.ms)
        y = jnp.asarray(rng.integers(0, 4, 48), jnp.int32)
        own = np.arange(25) % 4 == np.asarray(y)[:, None]
        x = jnp.asarray(rng.random((48, 25)) * 0.3 + own * 0.6, jnp.float32)
        weights = net.states(brainstate.ParamState)
        optimizer = braintools.optim.Adam(lr=braintools.optim.StepLR(1e-2, step_size=2, gamma=0.5))
        optimizer.register_trainable_weights(weights)

        def loss_fun(xs, ys):
            brainstate.nn.init_all_states(net, xs.shape[0])
            outs, spikes = brainstate.transform.for_loop(net.update, encoder(xs))
            predicts = u.math.max(outs, axis=0)
            loss = braintools.metric.softmax_cross_entropy_with_integer_labels(predicts, ys).mean()
            return loss + 1e-4 * u.math.sum(spikes) / xs.shape[0], u.math.sum(ys == u.math.argmax(predicts, axis=1))

        @brainstate.transform.jit
        def train_fn(xs, ys):
            grads, loss, correct = brainstate.transform.grad(loss_fun, weights, has_aux=True, return_value=True)(xs, ys)
            optimizer.update(grads)
            return loss, correct

        losses = []
        for _ in range(6):
            # The last batch is smaller than the others.
            for batch in (slice(0, 20), slice(20, 40), slice(40, 48)):
                losses.append(float(train_fn(x[batch], y[batch])[0]))
            optimizer.lr.step_epoch()
        return {"first loss": losses[0], "last loss": losses[-1]}
