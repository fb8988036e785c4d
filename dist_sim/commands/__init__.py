"""The command line, one command a file: a plain script becomes a cluster run without a change to it."""

from dist_sim.commands.digest import digest
from dist_sim.commands.doctor import doctor
from dist_sim.commands.export import export
from dist_sim.commands.models import models
from dist_sim.commands.plan import plan
from dist_sim.commands.resume import resume
from dist_sim.commands.run import run
from dist_sim.commands.runs import runs
from dist_sim.commands.status import status
from dist_sim.commands.submit import submit

# In the order of `dist-sim --help`.
COMMANDS = (run, resume, plan, submit, status, runs, digest, export, models, doctor)
