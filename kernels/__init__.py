"""Keyed, exact and event-driven array operations, each with a pure JAX reference and a compiled backend."""

from dist_sim.kernels.backend import BACKENDS as BACKENDS
from dist_sim.kernels.backend import can_compile as can_compile
from dist_sim.kernels.backend import choose as choose
from dist_sim.kernels.backend import choose_builder as choose_builder
from dist_sim.kernels.backend import compiler_failed as compiler_failed
from dist_sim.kernels.backend import library as load  # noqa: F401
from dist_sim.kernels.cache import unannounced as unannounced
from dist_sim.kernels.deliver import DueCapacity as DueCapacity
from dist_sim.kernels.deliver import deliver as deliver
from dist_sim.kernels.history import compact as compact
from dist_sim.kernels.history import push_ids as push_ids
from dist_sim.kernels.history import push_masks as push_masks
from dist_sim.kernels.poisson import poisson as poisson
