"""Values as they were some time ago."""

from dist_sim.models.delays.delay import Delay as Delay
from dist_sim.models.delays.delay import DelayAccess as DelayAccess
from dist_sim.models.delays.prefetch import OutputDelayAt as OutputDelayAt
from dist_sim.models.delays.prefetch import Prefetch as Prefetch
from dist_sim.models.delays.prefetch import PrefetchDelay as PrefetchDelay
from dist_sim.models.delays.prefetch import PrefetchDelayAt as PrefetchDelayAt
from dist_sim.models.delays.state_with_delay import StateWithDelay as StateWithDelay
