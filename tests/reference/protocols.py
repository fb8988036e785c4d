"""Trains of spikes on both sides of one synapse."""

import numpy as np

DT = 0.1
# A neuron that spikes in the step in which its generator's spike arrives, whatever its plastic synapses bring.
FIRED = dict(E_L=0.0, V_m=0.0, V_reset=0.0, V_th=500.0, t_ref=0.0, tau_m=1.0)


def intervals(kinds=1):
    """Pairs repeated at several rates, the post spike -50 to 50 ms after the pre spike, and a last pre spike that reads all."""
    for gap in (-50, -20, -10, -1.6, -1.5, -1.4, -1, -0.3, -0.2, -0.1, 0, 0.1, 0.2, 1, 1.4, 1.5, 1.6, 2, 5, 20, 50):
        for delay in (0.1, 1.0, 1.5):
            for period, count in ((1000.0, 1), (100.0, 6), (20.0, 20)):
                times = 60 + period * np.arange(count)
                kind = kinds - 1 - (round(gap * 10) + round(delay * 10) + count) % kinds
                yield np.append(times, 700.0), times + gap, delay, kind, (20.0, 7.3)[count % 2]
