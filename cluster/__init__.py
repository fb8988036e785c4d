"""Launching on clusters (bootstrap, batch scripts, preemption); imports `errors` only."""
