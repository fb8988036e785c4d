"""Connection rules under NEST's names. One rule, one file."""

from dist_sim.network.rules.all_to_all import all_to_all
from dist_sim.network.rules.explicit_edges import explicit_edges
from dist_sim.network.rules.fixed_indegree import fixed_indegree
from dist_sim.network.rules.fixed_outdegree import fixed_outdegree
from dist_sim.network.rules.fixed_total_number import fixed_total_number
from dist_sim.network.rules.one_to_one import one_to_one
from dist_sim.network.rules.pairwise_bernoulli import pairwise_bernoulli
from dist_sim.network.rules.pairwise_poisson import pairwise_poisson
from dist_sim.network.rules.rule import Rule as Rule

RULES = {
    rule.name: rule
    for rule in (
        one_to_one, all_to_all, fixed_indegree, fixed_outdegree, fixed_total_number, pairwise_bernoulli, pairwise_poisson,
        explicit_edges,
    )
}  # fmt: skip
