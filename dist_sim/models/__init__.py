"""The BrainPy-style family."""
