"""A training loop for the fault campaigns: surrogate gradients of a recurrent spiking network, Adam, and input drawn at random.

As a script it says the losses, the weights and the optimiser's state in the file that its argument names. Computed in double
precision: gradients by sources are added up device by device, and differ by rounding between meshes.
"""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from modules import mesh, say

import dist_sim as ds

INPUTS, HIDDEN, STEPS, TRIALS = 12, 300, 20, 4


class Net(ds.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into = ds.nn.Linear(INPUTS, HIDDEN, w_init=ds.init.KaimingNormal(scale=40.0, unit=u.mA), b_init=None)
        self.cells = ds.LIF(HIDDEN, R=1.0 * u.ohm, V_th=1.0 * u.mV, tau=10 * u.ms, spk_fun=ds.surrogate.ReluGrad())
        self.recurrent = ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(HIDDEN, HIDDEN, 0.1, ds.init.Normal(0.0, 0.2, unit=u.mS)),
            syn=ds.Expon.desc(HIDDEN, tau=5.0 * u.ms), out=ds.CUBA.desc(scale=u.volt), post=self.cells,
        )  # fmt: skip
        self.out = ds.LeakyRateReadout(HIDDEN, 3, tau=10 * u.ms)

    def update(self, rates):
        self.recurrent(self.cells.get_spike())
        sent = ds.random.uniform(0.0, 1.0, rates.shape) < rates
        return self.out(self.cells(self.into(sent.astype(rates.dtype))))


def main() -> None:
    ds.environ.set(precision=64)
    ds.random.seed(1)
    epochs = round(ds.param("ms", 400.0) / 2)
    with mesh(), ds.environ.context(dt=1 * u.ms):
        net = ds.nn.init_all_states(Net(), batch_size=TRIALS)
        losses = ds.State(jnp.zeros(epochs), name="losses")
        opt = ds.optim.Adam(lr=1e-2)
        opt.register_trainable_weights(net.states(ds.ParamState))
        rates = jnp.linspace(0.1, 0.6, TRIALS * INPUTS).reshape(TRIALS, INPUTS)
        wanted = jnp.array([1.0, 0.0, 0.5])

        @ds.transform.jit
        def epoch():
            ds.nn.init_all_states(net, batch_size=TRIALS)

            def loss():
                found = ds.transform.for_loop(lambda: net(rates), length=STEPS)
                return ((found[-1] - wanted) ** 2).mean()

            gradients, value = ds.transform.grad(loss, net.states(ds.ParamState), return_value=True)()
            opt.update(gradients)
            return value

        for k in ds.resumable(range(epochs), net=net, opt=opt, losses=losses):
            losses.value = losses.value.at[k].set(epoch())
    trained = jax.tree.leaves([state.value for state in (*net.states(ds.ParamState).values(), *opt.states().values())])
    assert np.asarray(losses.value)[-1] < 0.9 * float(losses.value[0])
    say({"losses": losses.value, **{f"trained {n}": x for n, x in enumerate(trained)}, "random": ds.random.uniform(0.0, 1.0, 3)})


if __name__ == "__main__":
    main()
