"""BrainPy-style readouts, one per file."""

from dist_sim.models.readouts.leaky_rate import LeakyRateReadout as LeakyRateReadout
