"""From one population to another, one kind of projection per file."""

from dist_sim.models.projections.align_post import AlignPostProj as AlignPostProj
from dist_sim.models.projections.align_post import align_post_projection as align_post_projection
from dist_sim.models.projections.align_pre import align_pre_projection as align_pre_projection
from dist_sim.models.projections.asymmetry_gap_junction import AsymmetryGapJunction as AsymmetryGapJunction
from dist_sim.models.projections.current import CurrentProj as CurrentProj
from dist_sim.models.projections.delta import DeltaProj as DeltaProj
from dist_sim.models.projections.projection import Projection as Projection
from dist_sim.models.projections.symmetry_gap_junction import SymmetryGapJunction as SymmetryGapJunction
