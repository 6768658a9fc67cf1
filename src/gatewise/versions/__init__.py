"""Versions: an immutable, content-addressed registry, its aliases, and loading that checks what is loaded."""

from ._identity import RefusedError as RefusedError
from ._load import Loaded as Loaded
from ._load import load as load
from ._ports import Port as Port
from ._register import Registration as Registration
from ._register import register as register
from ._registry import Registry as Registry
from ._rows import ALIASES as ALIASES
from ._rows import NOTHING as NOTHING
from ._rows import Alias as Alias
from ._rows import Move as Move
from ._rows import Version as Version
