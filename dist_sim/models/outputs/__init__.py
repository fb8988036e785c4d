"""From conductance to current: synaptic outputs, one per file."""

from dist_sim.models.outputs.coba import COBA as COBA
from dist_sim.models.outputs.cuba import CUBA as CUBA
from dist_sim.models.outputs.mg_block import MgBlock as MgBlock
from dist_sim.models.outputs.output import SynOut as SynOut
