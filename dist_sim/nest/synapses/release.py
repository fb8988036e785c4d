"""What a neuron's spike releases, as a law of its synapses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dist_sim import units
from dist_sim.nest.synapses.synapse import Synapse


class Release(Synapse):
    """What each spike of a neuron releases of the weights of its synapses.

    A neuron model names one in `Receptor(released_by=...)`. It depends on the neuron's own spikes and parameters alone, so each
    of its synapses can keep it: a static synapse to such a receptor is carried by this law, and still is a static synapse for
    users and recorders. `connect` takes no such law.
    """

    reads: ClassVar[tuple[str, ...]]  # parameters and initial values of the neuron

    @classmethod
    def of_neuron(cls, p: Mapping[str, float]) -> Mapping[str, float]:
        """Parameters and variables of the law from what it `reads`, in bare numbers: those of the same names."""
        return p

    @classmethod
    def by(cls, p: Mapping[str, float]) -> Release:
        """The law of neurons with these parameters."""
        known = cls.settable()
        return cls(**{n: units.quantity(value, known[n].unit) for n, value in cls.of_neuron(p).items()})
