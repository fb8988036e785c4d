"""`ds.init`: first values, one initialiser per file."""

from dist_sim.models.init.constant import Constant as Constant
from dist_sim.models.init.initializer import Initializer as Initializer
