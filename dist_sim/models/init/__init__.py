"""`ds.init`: first values, one initialiser per file."""

from dist_sim.models.init.constant import Constant as Constant
from dist_sim.models.init.initializer import Initializer as Initializer
from dist_sim.models.init.normal import Normal as Normal
from dist_sim.models.init.uniform import Uniform as Uniform
