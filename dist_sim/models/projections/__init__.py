"""From one population to another, one kind of projection per file."""

from dist_sim.models.projections.align_post import AlignPostProj as AlignPostProj
