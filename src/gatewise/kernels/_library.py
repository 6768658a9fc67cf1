"""The shared library of native kernels: where it is, whether it loads, and what this machine runs of it.

The library links neither Python nor torch. What is here needs no torch either; `_operators` registers with it.
"""

import ctypes
import os
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NAME = "_native.so"
OVERRIDE = "GATEWISE_NATIVE"
"""Environment variable: `off`, or the path of a library to load instead of the installed one."""
ISA = "GATEWISE_ISA"
"""Environment variable: one of `INSTRUCTION_SETS`, for the library that is loaded next."""
INSTRUCTION_SETS = ("avx512", "avx2", "plain")
COMPILERS = ("c++", "g++", "clang++")
"""What CMake looks for, after the one that CXX names."""
AGAIN = "pip install -v --no-cache-dir --force-reinstall --no-deps gatewise"
"""Builds once more: without `--no-cache-dir` pip would take the wheel that it built the last time."""
INTERFACE = 9
"""What the library answers, so that one that was built from other sources is not taken for ours."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Whether native kernels run here, and if not, why not.

    Attributes:
        path: the library that is loaded, or None.
        instruction_set: `avx512`, `avx2` or `plain`, what its kernels run with; None without a library.
        reason: one line saying why there is none, or why not what was asked for; None where all is as wished.
    """

    path: Path | None = None
    instruction_set: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.path is None:
            return f"absent, torch computes: {self.reason}"
        return f"{self.instruction_set}" + (f" ({self.reason})" if self.reason else "")


@cache
def load() -> tuple[ctypes.CDLL | None, Status]:
    """The library and its status, looked for once a process."""
    wanted = os.environ.get(OVERRIDE)
    if wanted == "off":
        return None, Status(reason=f"{OVERRIDE}=off")
    path = Path(wanted) if wanted else _installed()
    if path is None:
        return None, Status(reason=_not_built())
    try:
        core = ctypes.CDLL(str(path))
        _declare(core)
    except (OSError, AttributeError) as error:
        return None, Status(reason=f"{path.name} cannot be loaded: {str(error).splitlines()[0]}")
    if core.gatewise_interface() != INTERFACE:
        return None, Status(reason=f"{path.name} is of another version of gatewise: install it again")
    isa = core.gatewise_isa().decode()
    return core, Status(path=path, instruction_set=isa, reason=_not_as_asked(isa))


def status() -> Status:
    """Whether native kernels run here, with which instructions, and why not where not. Imports no torch."""
    return load()[1]


def functions(core: ctypes.CDLL) -> dict[str, bool]:
    """The library's functions in order, and whether each is a gate (of two inputs)."""
    names = [core.gatewise_function_name(i).decode() for i in range(core.gatewise_num_functions())]
    return {name: core.gatewise_function_is_gate(i) for i, name in enumerate(names)}


def _installed() -> Path | None:
    # An editable install keeps the library in site-packages and this file in the source tree: the package has both.
    folders: list[str] = list(sys.modules[__name__.rpartition(".")[0]].__path__)
    return next((found for folder in folders if (found := Path(folder) / NAME).is_file()), None)


def _not_built() -> str:
    """Why an install has no library, as far as can be told now: its build failed then, whatever for."""
    found = next((name for name in (os.environ.get("CXX"), *COMPILERS) if name and shutil.which(name)), None)
    if found is None:
        return f"gatewise was installed without them, and no C++ compiler is on the path: install one, then {AGAIN}"
    return f"gatewise was installed without them; {found} came later, or it failed: {AGAIN} shows its words"


def _not_as_asked(isa: str) -> str | None:
    asked = os.environ.get(ISA)
    if not asked or asked == isa:
        return None
    if asked not in INSTRUCTION_SETS:
        return f"{ISA}={asked} is none of {', '.join(INSTRUCTION_SETS)}"
    return f"{ISA}={asked}, which this machine lacks"


def _declare(core: ctypes.CDLL) -> None:
    for name in ("gatewise_function_name", "gatewise_shim_name", "gatewise_register", "gatewise_isa"):
        getattr(core, name).restype = ctypes.c_char_p
    for name in ("gatewise_function_is_gate", "gatewise_use_isa", "gatewise_panels"):
        getattr(core, name).restype = ctypes.c_bool
    core.gatewise_interface.restype = ctypes.c_int
    core.gatewise_use_isa.argtypes = [ctypes.c_char_p]
