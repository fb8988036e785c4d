"""Devices under NEST's names. One device, one file."""

from dist_sim.nest.devices.ac_generator import ac_generator
from dist_sim.nest.devices.dc_generator import dc_generator
from dist_sim.nest.devices.device import CountGenerator as CountGenerator
from dist_sim.nest.devices.device import CurrentGenerator as CurrentGenerator
from dist_sim.nest.devices.device import Device as Device
from dist_sim.nest.devices.device import Generator as Generator
from dist_sim.nest.devices.device import Meter as Meter
from dist_sim.nest.devices.device import OccupationGenerator as OccupationGenerator
from dist_sim.nest.devices.device import RateGenerator as RateGenerator
from dist_sim.nest.devices.device import Recorder as Recorder
from dist_sim.nest.devices.device import SpikeRecorder as SpikeRecorder
from dist_sim.nest.devices.device import SteadyPoissonGenerator as SteadyPoissonGenerator
from dist_sim.nest.devices.device import TrainGenerator as TrainGenerator
from dist_sim.nest.devices.device import WeightRecorder as WeightRecorder
from dist_sim.nest.devices.gamma_sup_generator import gamma_sup_generator
from dist_sim.nest.devices.inhomogeneous_poisson_generator import inhomogeneous_poisson_generator
from dist_sim.nest.devices.mip_generator import mip_generator
from dist_sim.nest.devices.multimeter import multimeter
from dist_sim.nest.devices.noise_generator import noise_generator
from dist_sim.nest.devices.poisson_generator import poisson_generator
from dist_sim.nest.devices.ppd_sup_generator import ppd_sup_generator
from dist_sim.nest.devices.pulsepacket_generator import pulsepacket_generator
from dist_sim.nest.devices.sinusoidal_poisson_generator import sinusoidal_poisson_generator
from dist_sim.nest.devices.spike_generator import spike_generator
from dist_sim.nest.devices.spike_recorder import spike_recorder
from dist_sim.nest.devices.step_current_generator import step_current_generator
from dist_sim.nest.devices.step_rate_generator import step_rate_generator
from dist_sim.nest.devices.voltmeter import voltmeter
from dist_sim.nest.devices.weight_recorder import weight_recorder

DEVICES = {
    device.__name__: device
    for device in (
        ac_generator, dc_generator, gamma_sup_generator, inhomogeneous_poisson_generator, mip_generator, multimeter,
        noise_generator, poisson_generator, ppd_sup_generator, pulsepacket_generator, sinusoidal_poisson_generator,
        spike_generator, spike_recorder, step_current_generator, step_rate_generator, voltmeter, weight_recorder,
    )
}  # fmt: skip
