"""Neuron models under NEST's names. One model, one file, and one line here."""

from dist_sim.nest.neurons.aeif_cond_alpha import aeif_cond_alpha as aeif_cond_alpha
from dist_sim.nest.neurons.aeif_cond_alpha_multisynapse import aeif_cond_alpha_multisynapse as aeif_cond_alpha_multisynapse
from dist_sim.nest.neurons.aeif_cond_beta_multisynapse import aeif_cond_beta_multisynapse as aeif_cond_beta_multisynapse
from dist_sim.nest.neurons.aeif_cond_exp import aeif_cond_exp as aeif_cond_exp
from dist_sim.nest.neurons.aeif_psc_alpha import aeif_psc_alpha as aeif_psc_alpha
from dist_sim.nest.neurons.aeif_psc_delta import aeif_psc_delta as aeif_psc_delta
from dist_sim.nest.neurons.aeif_psc_exp import aeif_psc_exp as aeif_psc_exp
from dist_sim.nest.neurons.amat2_psc_exp import amat2_psc_exp as amat2_psc_exp
from dist_sim.nest.neurons.gif_cond_exp import gif_cond_exp as gif_cond_exp
from dist_sim.nest.neurons.gif_cond_exp_multisynapse import gif_cond_exp_multisynapse as gif_cond_exp_multisynapse
from dist_sim.nest.neurons.gif_psc_exp import gif_psc_exp as gif_psc_exp
from dist_sim.nest.neurons.gif_psc_exp_multisynapse import gif_psc_exp_multisynapse as gif_psc_exp_multisynapse
from dist_sim.nest.neurons.ginzburg_neuron import ginzburg_neuron as ginzburg_neuron
from dist_sim.nest.neurons.glif_cond import glif_cond as glif_cond
from dist_sim.nest.neurons.glif_psc import glif_psc as glif_psc
from dist_sim.nest.neurons.glif_psc_double_alpha import glif_psc_double_alpha as glif_psc_double_alpha
from dist_sim.nest.neurons.hh_cond_exp_traub import hh_cond_exp_traub as hh_cond_exp_traub
from dist_sim.nest.neurons.hh_psc_alpha import hh_psc_alpha as hh_psc_alpha
from dist_sim.nest.neurons.ht_neuron import ht_neuron as ht_neuron
from dist_sim.nest.neurons.iaf_bw_2001 import iaf_bw_2001 as iaf_bw_2001
from dist_sim.nest.neurons.iaf_bw_2001_exact import iaf_bw_2001_exact as iaf_bw_2001_exact
from dist_sim.nest.neurons.iaf_chs_2007 import iaf_chs_2007 as iaf_chs_2007
from dist_sim.nest.neurons.iaf_chxk_2008 import iaf_chxk_2008 as iaf_chxk_2008
from dist_sim.nest.neurons.iaf_cond_alpha import iaf_cond_alpha as iaf_cond_alpha
from dist_sim.nest.neurons.iaf_cond_beta import iaf_cond_beta as iaf_cond_beta
from dist_sim.nest.neurons.iaf_cond_exp import iaf_cond_exp as iaf_cond_exp
from dist_sim.nest.neurons.iaf_cond_exp_sfa_rr import iaf_cond_exp_sfa_rr as iaf_cond_exp_sfa_rr
from dist_sim.nest.neurons.iaf_psc_alpha import iaf_psc_alpha as iaf_psc_alpha
from dist_sim.nest.neurons.iaf_psc_alpha_multisynapse import iaf_psc_alpha_multisynapse as iaf_psc_alpha_multisynapse
from dist_sim.nest.neurons.iaf_psc_delta import iaf_psc_delta as iaf_psc_delta
from dist_sim.nest.neurons.iaf_psc_exp import iaf_psc_exp as iaf_psc_exp
from dist_sim.nest.neurons.iaf_psc_exp_htum import iaf_psc_exp_htum as iaf_psc_exp_htum
from dist_sim.nest.neurons.iaf_psc_exp_multisynapse import iaf_psc_exp_multisynapse as iaf_psc_exp_multisynapse
from dist_sim.nest.neurons.iaf_tum_2000 import iaf_tum_2000 as iaf_tum_2000
from dist_sim.nest.neurons.ignore_and_fire import ignore_and_fire as ignore_and_fire
from dist_sim.nest.neurons.izhikevich import izhikevich as izhikevich
from dist_sim.nest.neurons.mat2_psc_exp import mat2_psc_exp as mat2_psc_exp
from dist_sim.nest.neurons.mcculloch_pitts_neuron import mcculloch_pitts_neuron as mcculloch_pitts_neuron
from dist_sim.nest.neurons.neuron import NESTNeuron as NESTNeuron
from dist_sim.nest.neurons.parrot_neuron import parrot_neuron as parrot_neuron
from dist_sim.nest.neurons.pp_psc_delta import pp_psc_delta as pp_psc_delta

NEURONS: dict[str, type[NESTNeuron]] = {
    name: model
    for name, model in list(globals().items())
    if isinstance(model, type) and issubclass(model, NESTNeuron) and model is not NESTNeuron
}
