"""What this machine has, for runtimes that need it. Imports no engine."""

import shutil
from importlib.util import find_spec

from gatewise.core import environment

COMPILERS = ("c++", "g++", "clang++")


def no_compiler() -> str | None:
    """Why nothing can be compiled here, or None."""
    if any(shutil.which(name) for name in COMPILERS):
        return None
    return "it needs a C++ compiler (g++ or clang++), and there is none"


def not_installed(*modules: str, get: str) -> str | None:
    """The first of some modules that is not there, and the command that brings it; None where all are."""
    for module in modules:
        try:
            there = find_spec(module) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            return f"{module} is not installed; it comes with: {get}"
    return None


def no_onnx() -> str | None:
    """Why ONNX Runtime cannot run, or None."""
    return not_installed("onnx", "onnxscript", "onnxruntime", get="pip install 'gatewise[onnx]'")


def no_openvino() -> str | None:
    """Why OpenVINO cannot run, or None."""
    return not_installed("onnx", "onnxscript", "openvino", get="pip install 'gatewise[openvino]'")


def no_bf16() -> str | None:
    """Why bfloat16 would be emulated, or None."""
    if "bf16" in str(environment()["instruction_set"]):
        return None
    return "the processor has no bfloat16 instructions (avx512_bf16)"


def not_amd() -> str | None:
    """Why this is no processor of AMD, or None."""
    cpu = str(environment()["cpu"])
    return None if "AMD" in cpu else f"it is made for AMD processors, and this is {cpu}"
