"""BrainPy-style short-term plasticity, one model per file."""

from dist_sim.models.plasticity.short_term import ShortTermPlasticity as ShortTermPlasticity
from dist_sim.models.plasticity.std import STD as STD
from dist_sim.models.plasticity.stp import STP as STP
