"""Programs over whole arrays, run over the blocks that devices own."""

from dist_sim.partition.blocks import nested as nested
from dist_sim.partition.blocks import rules as rules
from dist_sim.partition.blocks.on_device import on_devices as on_devices
from dist_sim.partition.blocks.over_mesh import OverMesh as OverMesh
from dist_sim.partition.blocks.program import Blocks as Blocks
from dist_sim.partition.blocks.program import Kind as Kind
from dist_sim.partition.blocks.program import Shard as Shard
from dist_sim.partition.blocks.program import Split as Split
from dist_sim.partition.blocks.program import Value as Value
from dist_sim.partition.blocks.program import bind as bind
from dist_sim.partition.blocks.program import padded_size as padded_size
from dist_sim.partition.blocks.program import rule as rule
