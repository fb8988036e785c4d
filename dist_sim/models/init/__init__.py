"""`ds.init`: first values, one initialiser per file."""

from dist_sim.models.init.constant import Constant as Constant
from dist_sim.models.init.exponential import Exponential as Exponential
from dist_sim.models.init.gamma import Gamma as Gamma
from dist_sim.models.init.groups import Groups as Groups
from dist_sim.models.init.initializer import Initializer as Initializer
from dist_sim.models.init.log_normal import LogNormal as LogNormal
from dist_sim.models.init.normal import Normal as Normal
from dist_sim.models.init.orthogonal import Orthogonal as Orthogonal
from dist_sim.models.init.param import param as param
from dist_sim.models.init.truncated_normal import TruncatedNormal as TruncatedNormal
from dist_sim.models.init.uniform import Uniform as Uniform
from dist_sim.models.init.variance_scaling import KaimingNormal as KaimingNormal
from dist_sim.models.init.variance_scaling import KaimingUniform as KaimingUniform
from dist_sim.models.init.variance_scaling import LecunNormal as LecunNormal
from dist_sim.models.init.variance_scaling import LecunUniform as LecunUniform
from dist_sim.models.init.variance_scaling import VarianceScaling as VarianceScaling
from dist_sim.models.init.variance_scaling import XavierNormal as XavierNormal
from dist_sim.models.init.variance_scaling import XavierUniform as XavierUniform
from dist_sim.models.init.zero import ZeroInit as ZeroInit
