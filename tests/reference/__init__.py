"""Oracles: one description of a network, run by NEST and by dist_sim."""
