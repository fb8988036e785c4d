"""`dist-sim`, which writes down when it has been imported: a mistake in the command line is found right after that."""

import os
import sys
import time
from pathlib import Path

from dist_sim.commands.app import main

Path(os.environ["STRUCK"]).write_text(str(time.time()))
sys.exit(main())
