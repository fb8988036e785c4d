"""BrainPy-style inputs: spike trains, waveforms and noise."""

from dist_sim.models.inputs.latency import LatencyEncoder as LatencyEncoder
from dist_sim.models.inputs.piecewise import ConstantInput as ConstantInput
from dist_sim.models.inputs.piecewise import SectionInput as SectionInput
from dist_sim.models.inputs.piecewise import StepInput as StepInput
from dist_sim.models.inputs.poisson import PoissonEncoder as PoissonEncoder
from dist_sim.models.inputs.poisson import PoissonInput as PoissonInput
from dist_sim.models.inputs.poisson import PoissonSpike as PoissonSpike
from dist_sim.models.inputs.poisson import poisson_input as poisson_input
from dist_sim.models.inputs.processes import OUProcessInput as OUProcessInput
from dist_sim.models.inputs.processes import WienerProcessInput as WienerProcessInput
from dist_sim.models.inputs.spike_time import SpikeTime as SpikeTime
from dist_sim.models.inputs.waveforms import RampInput as RampInput
from dist_sim.models.inputs.waveforms import SinusoidalInput as SinusoidalInput
