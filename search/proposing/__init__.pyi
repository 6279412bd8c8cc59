from .allocation import documents_of as documents_of, rounds_of as rounds_of
from .assignment import Assignment as Assignment, assign as assign
from .halving import BASE as BASE, Halving as Halving, kept_of as kept_of
from .history import History as History
from .plan import Plan as Plan
from .policy import next_proposal as next_proposal, why_over as why_over, why_used_up as why_used_up
from .proposal import Proposal as Proposal
from .sampler import BoundedSampler as BoundedSampler, distributions as distributions
from .settled import Settled as Settled
