"""The local field potential that the spikes of a population make."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from dist_sim.core.random import RandomState, default_rng
from dist_sim.core.transform import for_loop
from dist_sim.errors import ParameterError

# Amplitudes (uV) of the potential of one spike at its place, of an excitatory and an inhibitory cell.
LAYERS = {
    "soma layer": (0.48, 3.0), "deep layer": (-0.16, -0.2), "superficial layer": (0.24, -1.2), "surface layer": (-0.08, 0.3),
    "surface": (-0.08, 0.3),
}  # fmt: skip
DELAY = 10.4  # ms, of the peak behind the spike


def unitary_LFP(
    times: Any,
    spikes: Any,
    spike_type: str,
    xmax: Any = 0.2,
    ymax: Any = 0.2,
    va: Any = 200.0,
    lambda_: Any = 0.2,
    sig_i: Any = 2.1,
    sig_e: Any = 2.1 * 1.5,
    location: str = "soma layer",
    seed: Any = None,
) -> jax.Array:
    """(time,): the field potential in uV at the centre of a sheet on which the cells lie at random: of each spike a bell.

    Args:
        times: of the rows of `spikes`, (time,); bare numbers are ms.
        spikes: (time, neuron).
        spike_type: the cells are all "exc" or all "inh".
        xmax, ymax: sizes of the sheet; bare numbers are mm.
        va: speed along axons; bare numbers are mm/s.
        lambda_: over which distance the potential falls to 1/e; bare numbers are mm.
        sig_i, sig_e: width of the bell; bare numbers are ms.
        location: where it is measured: "soma layer", "deep layer", "superficial layer" or "surface layer".
        seed: of the places; without one, they come from `ds.random`.

    Raises:
        ParameterError: another kind of cells or layer; arrays that do not fit.
    Source: Telenczuk, Telenczuk & Destexhe (2020), doi:10.1016/j.jneumeth.2020.108871; names and defaults are those of
        braintools 0.3.
    """
    for name, given, allowed in (("spike_type", spike_type, ("exc", "inh")), ("location", location, LAYERS)):
        if given not in allowed:
            raise ParameterError(f"unitary_LFP({name}={given!r}): allowed are {', '.join(map(repr, allowed))}.")
    times, spikes = jnp.asarray(_in(times, u.ms)), jnp.asarray(spikes)
    if spikes.ndim != 2 or times.shape != spikes.shape[:1]:
        raise ParameterError(f"unitary_LFP: times {times.shape} and spikes {spikes.shape}; needs (time,) and (time, neuron).")
    size = jnp.array([[_in(xmax, u.mm)], [_in(ymax, u.mm)]])
    source = default_rng() if seed is None else RandomState(seed)
    distance = jnp.sqrt(jnp.square(source.rand(2, spikes.shape[1]) * size - size / 2).sum(0))
    excites = spike_type == "exc"
    amplitude = jnp.exp(-distance / _in(lambda_, u.mm)) * LAYERS[location][0 if excites else 1]
    step, neuron = jnp.nonzero(spikes)
    peak = times[step] + DELAY + distance[neuron] / _in(va, u.mm / u.second) * 1000.0
    height, width = amplitude[neuron], _in(sig_e if excites else sig_i, u.ms)
    # One time after the other: all at once, (time, spikes) numbers would have to fit in memory.
    return for_loop(lambda t: jnp.sum(height * jnp.exp(-jnp.square((t - peak) / width) / 2)), times)


def _in(x: Any, unit: Any) -> Any:
    return x.to_decimal(unit) if isinstance(x, u.Quantity) else x
