"""The ledger of claims: published sentences as data, the studies that test them, their grades; published tables."""

from ._claim import Claim as Claim
from ._claim import Relation as Relation
from ._document import listing as listing
from ._document import only as only
from ._grade import GRADES as GRADES
from ._grade import MEANING as MEANING
from ._ledger import chosen as chosen
from ._ledger import ledger as ledger
from ._looks import with_seeds as with_seeds
from ._merge import merge as merge
from ._published import published as published
from ._run import check_plans as check_plans
from ._run import run_claims as run_claims
