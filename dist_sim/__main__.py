"""`python -m dist_sim` is `dist-sim`; what it does is in `dist_sim.commands`."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the working directory: a script's statistics.py there is not the one that libraries import

from collections.abc import Sequence

from dist_sim.run.stop import leaving
from dist_sim.run.streams import readers_may_leave


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `dist-sim`; returns the exit code."""
    with leaving():
        from dist_sim.commands.app import main as command  # JAX and all: seconds, in which a run may be asked to stop
    with readers_may_leave():
        return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
