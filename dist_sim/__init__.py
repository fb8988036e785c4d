"""dist_sim: large spiking networks on many devices. Names are loaded when they are first used: importing does nothing."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each public name lives.
_NAMES = {
    "dist_sim.core": (
        "State", "ParamState", "HiddenState", "HiddenGroupState", "HiddenTreeState", "ShortTermState", "DelayState",
        "LongTermState", "BatchState", "Module", "catch_new_states", "register_state_hook", "unregister_state_hook",
        "clear_state_hooks", "list_state_hooks", "has_state_hooks",
    ),
    "dist_sim.errors": ("TraceContextError",),
    "dist_sim.models.dynamics": ("Dynamics",),
    "dist_sim.models.inputs": (
        "ConstantInput", "LatencyEncoder",
        "OUProcessInput", "PoissonEncoder", "PoissonInput", "PoissonSpike", "RampInput", "SectionInput",
        "SinusoidalInput", "SpikeTime", "StepInput", "WienerProcessInput", "poisson_input",
    ),
    "dist_sim.models.neurons": (
        "IF", "LIF", "LIFRef", "ALIF", "ExpIF", "ExpIFRef", "AdExIF", "AdExIFRef", "QuaIF", "AdQuaIF", "AdQuaIFRef", "Gif",
        "GifRef", "CubaLIF", "CobaLIF", "Izhikevich", "IzhikevichRef", "HH", "MorrisLecar", "WangBuzsakiHH", "FitzHughNagumo",
        "HindmarshRose", "Neuron",
    ),
    "dist_sim.models.outputs": ("COBA", "CUBA", "MgBlock", "SynOut"),
    "dist_sim.models.plasticity": ("STD", "STP", "ShortTermPlasticity"),
    "dist_sim.models.projections": (
        "AlignPostProj", "AsymmetryGapJunction", "CurrentProj", "DeltaProj", "Projection", "SymmetryGapJunction",
        "align_post_projection", "align_pre_projection",
    ),
    "dist_sim.models.readouts": ("LeakyRateReadout",),
    "dist_sim.models.synapses": ("Alpha", "AMPA", "BioNMDA", "DualExpon", "Expon", "GABAa", "NMDA", "Synapse"),
    "dist_sim.simulator": ("Simulator", "SimulationResult", "NodeView", "SynapseCollection"),
    "dist_sim.nest.neurons": (
        "aeif_cond_alpha", "aeif_cond_alpha_multisynapse", "aeif_cond_beta_multisynapse", "aeif_cond_exp", "aeif_psc_alpha",
        "aeif_psc_delta", "aeif_psc_exp", "amat2_psc_exp", "gif_cond_exp", "gif_cond_exp_multisynapse", "gif_psc_exp",
        "gif_psc_exp_multisynapse", "ginzburg_neuron", "glif_cond", "glif_psc", "glif_psc_double_alpha", "hh_cond_exp_traub",
        "hh_psc_alpha", "ht_neuron", "iaf_bw_2001", "iaf_bw_2001_exact", "iaf_chs_2007", "iaf_chxk_2008", "iaf_cond_alpha",
        "iaf_cond_beta", "iaf_cond_exp", "iaf_cond_exp_sfa_rr", "iaf_psc_alpha", "iaf_psc_alpha_multisynapse", "iaf_psc_delta",
        "iaf_psc_exp", "iaf_psc_exp_htum", "iaf_psc_exp_multisynapse", "iaf_tum_2000", "ignore_and_fire", "izhikevich",
        "mat2_psc_exp", "mcculloch_pitts_neuron", "parrot_neuron", "pp_psc_delta",
    ),
    "dist_sim.nest.devices": (
        "ac_generator", "dc_generator", "gamma_sup_generator", "inhomogeneous_poisson_generator", "mip_generator", "multimeter",
        "noise_generator", "poisson_generator", "ppd_sup_generator", "pulsepacket_generator", "sinusoidal_poisson_generator",
        "spike_generator", "spike_recorder", "step_current_generator", "step_rate_generator", "voltmeter", "weight_recorder",
    ),
    "dist_sim.nest.synapses": (
        "bernoulli_synapse", "quantal_stp_synapse", "static_synapse", "static_synapse_hom_w", "stdp_nn_pre_centered_synapse",
        "stdp_nn_restr_synapse", "stdp_nn_symm_synapse", "stdp_pl_synapse_hom", "stdp_synapse", "stdp_synapse_hom",
        "stdp_triplet_synapse", "tsodyks2_synapse", "tsodyks_synapse", "tsodyks_synapse_hom", "vogels_sprekeler_synapse",
    ),
    "dist_sim.network.rules": (
        "all_to_all", "explicit_edges", "fixed_indegree", "fixed_outdegree", "fixed_total_number", "one_to_one",
        "pairwise_bernoulli", "pairwise_poisson",
    ),
    "dist_sim.partition": (
        "AllGather", "AllGatherIds", "AllGatherMemory", "AllGatherMPI", "Balanced", "Block", "RoundRobin", "neuron_mesh",
        "use_mesh",
    ),
    "dist_sim.run.program": ("Run",),
    "dist_sim.run.result": ("RunResult",),
    "dist_sim.run.resumable": ("resumable",),
    "dist_sim.run.session": ("param", "results_folder"),
    "dist_sim.run.sweep": ("SweepTable", "sweep"),
}  # fmt: skip
_MODULES = {
    "checkpoint": "dist_sim.run.tree_checkpoint",
    "dist": "dist_sim.network.distributions",
    "environ": "dist_sim.core.environ",
    "errors": "dist_sim.errors",
    "filters": "dist_sim.core.filters",
    "graph": "dist_sim.core.graph",
    "init": "dist_sim.models.init",
    "metric": "dist_sim.models.metric",
    "mixin": "dist_sim.models.mixin",
    "nn": "dist_sim.models.nn",
    "optim": "dist_sim.models.optim",
    "random": "dist_sim.core.random",
    # This namespace itself: after `import dist_sim as brainpy`, `brainpy.state.LIF` is found where the models are.
    "state": "dist_sim",
    "surrogate": "dist_sim.models.surrogate",
    "transform": "dist_sim.core.transform",
    "util": "dist_sim.core.util",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted([*_HOME, *_MODULES])

if TYPE_CHECKING:
    import dist_sim as state
    from dist_sim import errors as errors
    from dist_sim.core import *
    from dist_sim.core import util as util
    from dist_sim.errors import TraceContextError as TraceContextError
    from dist_sim.models import init as init
    from dist_sim.models import metric as metric
    from dist_sim.models import mixin as mixin
    from dist_sim.models import optim as optim
    from dist_sim.models import surrogate as surrogate
    from dist_sim.models.dynamics import Dynamics as Dynamics
    from dist_sim.models.inputs import *
    from dist_sim.models.neurons import *
    from dist_sim.models.outputs import *
    from dist_sim.models.plasticity import *
    from dist_sim.models.projections import *
    from dist_sim.models.readouts import *
    from dist_sim.models.synapses import *
    from dist_sim.nest.devices import *
    from dist_sim.nest.neurons import *
    from dist_sim.nest.synapses import *
    from dist_sim.network import distributions as dist
    from dist_sim.network.rules import *
    from dist_sim.partition import *
    from dist_sim.run import tree_checkpoint as checkpoint
    from dist_sim.run.program import Run as Run
    from dist_sim.run.result import RunResult as RunResult
    from dist_sim.run.resumable import resumable as resumable
    from dist_sim.run.session import param as param
    from dist_sim.run.session import results_folder as results_folder
    from dist_sim.run.sweep import SweepTable as SweepTable
    from dist_sim.run.sweep import sweep as sweep
    from dist_sim.simulator import *


class _Namespaces(MetaPathFinder, Loader):
    """Lets `from dist_sim.nn import Linear` find the module that `dist_sim.nn` is: the one object, under its second name."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        first, _, rest = name.partition(".")
        if package != __name__ or first not in _MODULES or _MODULES[first] == f"{__name__}.{first}":
            return None
        return ModuleSpec(fullname, self, origin=".".join(filter(None, (_MODULES[first], rest))))

    def create_module(self, spec: ModuleSpec) -> Any:
        module = importlib.import_module(str(spec.origin))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: Any) -> None:
        # The import system gave it the spec of its second name.
        module.__spec__ = module.__spec__.loader_state


sys.meta_path.insert(0, _Namespaces())


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'dist_sim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
