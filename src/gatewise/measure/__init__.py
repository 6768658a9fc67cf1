"""Metrics that perturb nothing: time, memory, counts, output difference."""

from ._backward import with_backward as with_backward
from ._counts import flops as flops
from ._counts import parameters as parameters
from ._counts import weight_bytes as weight_bytes
from ._generation import NEW_TOKENS as NEW_TOKENS
from ._generation import Continuation as Continuation
from ._generation import Generation as Generation
from ._generation import Perplexity as Perplexity
from ._generation import continuations as continuations
from ._generation import generation as generation
from ._generation import generative as generative
from ._generation import perplexity as perplexity
from ._interleave import Effort as Effort
from ._interleave import Timings as Timings
from ._interleave import interleave as interleave
from ._interleave import slowed as slowed
from ._memory import peak_over as peak_over
from ._memory import resident_bytes as resident_bytes
from ._outputs import distances as distances
from ._outputs import outputs as outputs
from ._repeats import repeats as repeats
from ._repeats import same_bits as same_bits
from ._units import SilentUnits as SilentUnits
from ._units import dead_units as dead_units
