"""A run: its session, directory, spike segments, digest, statistics, progress and summary."""
