"""Tests of the BrainPy-style models; a package, for `examples/benchmarks/models.py` has the same name."""
