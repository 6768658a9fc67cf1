"""Where a C++ compiler is, the native kernels are built, load, and register with torch. CI requires them."""

import os
import shutil

import pytest

from gatewise import kernels

COMPILERS = ("c++", "g++", "clang++")


@pytest.mark.skipif(
    "GATEWISE_REQUIRE_NATIVE" not in os.environ and not any(map(shutil.which, COMPILERS)),
    reason="no C++ compiler here, so that gatewise was installed without native kernels",
)
def test_the_native_kernels_are_installed_and_registered() -> None:
    status = kernels.status()
    assert status.path is not None, status.reason
    assert status.instruction_set is not None
    assert {"gelu", "swiglu"} <= set(kernels.names())
