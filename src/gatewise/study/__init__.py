"""A study: its plan, its cells, its verdicts. The only conductor in gatewise."""

from ._between import Between as Between
from ._between import between as between
from ._builtin import builtin as builtin
from ._cells import timed_family as timed_family
from ._conductor import Progress as Progress
from ._cost import million_requests as million_requests
from ._effects import Effects as Effects
from ._effects import endings as endings
from ._errors import BudgetTooSmallError as BudgetTooSmallError
from ._errors import OtherStudyError as OtherStudyError
from ._evaluate import STORE as STORE
from ._evaluate import evaluate as evaluate
from ._evaluate import read_records as read_records
from ._evaluate import read_study as read_study
from ._plan import Arm as Arm
from ._plan import Judge as Judge
from ._plan import Measure as Measure
from ._plan import Part as Part
from ._plan import Plan as Plan
from ._plan import Subject as Subject
from ._plan import Train as Train
from ._plan import seconds as seconds
from ._plan_file import apply_settings as apply_settings
from ._plan_file import read_plan as read_plan
from ._plan_file import to_plan as to_plan
from ._record import Record as Record
