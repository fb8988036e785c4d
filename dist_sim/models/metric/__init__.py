"""`ds.metric`: statistics of spike trains, and losses."""

from dist_sim.models.metric.field import unitary_LFP as unitary_LFP
from dist_sim.models.metric.losses import absolute_error as absolute_error
from dist_sim.models.metric.losses import cosine_similarity as cosine_similarity
from dist_sim.models.metric.losses import huber_loss as huber_loss
from dist_sim.models.metric.losses import kl_divergence as kl_divergence
from dist_sim.models.metric.losses import l2_loss as l2_loss
from dist_sim.models.metric.losses import log_cosh as log_cosh
from dist_sim.models.metric.losses import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
from dist_sim.models.metric.losses import softmax_cross_entropy as softmax_cross_entropy
from dist_sim.models.metric.losses import softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels
from dist_sim.models.metric.losses import squared_error as squared_error
from dist_sim.models.metric.spikes import cross_correlation as cross_correlation
from dist_sim.models.metric.spikes import firing_rate as firing_rate
from dist_sim.models.metric.spikes import functional_connectivity as functional_connectivity
from dist_sim.models.metric.spikes import isi_cv as isi_cv
from dist_sim.models.metric.spikes import matrix_correlation as matrix_correlation
from dist_sim.models.metric.spikes import raster_plot as raster_plot
from dist_sim.models.metric.spikes import voltage_fluctuation as voltage_fluctuation
