"""What executes a subject: eager and compile now, one file each."""

from ._runtime import RUNTIMES as RUNTIMES
from ._runtime import Prepared as Prepared
