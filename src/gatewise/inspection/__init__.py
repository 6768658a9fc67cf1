"""`gatewise inspect`, `lock` and `check`: which activations a model computes, against another one, against its lock."""

from ._against import Difference as Difference
from ._against import Mismatch as Mismatch
from ._against import against as against
from ._check import Checked as Checked
from ._check import check as check
from ._check import lock as lock
from ._inspect import inspect as inspect
from ._inspection import Inspection as Inspection
from ._lock import lock_path as lock_path
from ._lock import read_lock as read_lock
from ._show import show as show
