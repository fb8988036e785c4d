"""`python -m dist_sim` is `dist-sim`; what it does is in `dist_sim.commands`."""

import sys

from dist_sim.commands.app import main

if __name__ == "__main__":
    sys.exit(main())
