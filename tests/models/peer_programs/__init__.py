"""Programs as people write them for brainstate and brainpy.state: each file has a `run(brainstate, brainpy, braintools)`.

The same text runs in dist_sim and in the libraries that it was written for. It returns what the two are compared by: numbers of
spikes, or losses. Networks are small, with weights drawn by numpy, so that both have the same.
"""
