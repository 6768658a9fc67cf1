"""Finding and loading the library: what status says, what runs without it, what is imported. Mostly other processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatewise import kernels
from gatewise.kernels import _library

STATUS = "from gatewise import kernels; import sys; print(kernels.status(), 'torch' in sys.modules, sep='|')"
COMPUTE = """
import torch
from gatewise import functional, kernels
from gatewise.kernels._functions import FUNCTIONS
from gatewise.kernels._packed import gate_packed
x = torch.linspace(-4, 4, 100)
leaf = x.clone().requires_grad_()
functional.gelu(leaf).sum().backward()
assert torch.equal(functional.silu(x), torch.nn.functional.silu(x))
assert torch.equal(functional.silu(x, out=torch.empty(100)), torch.nn.functional.silu(x))
assert torch.equal(gate_packed("swiglu", x), torch.nn.functional.silu(x[:50]) * x[50:])
print(kernels.names(), kernels.path("gelu", x), sep="|")
"""
native = pytest.mark.skipif(kernels.status().path is None, reason=f"native kernels: {kernels.status()}")


def run(script: str, **environment: str) -> str:
    """What it prints, with these environment variables and none other of ours."""
    kept = {key: value for key, value in os.environ.items() if key not in (_library.ISA, _library.OVERRIDE)}
    if kernels.status().path is not None:
        kept[_library.OVERRIDE] = str(kernels.status().path)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env=kept | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@native
def test_status_needs_no_torch() -> None:
    said, torch = run(STATUS).split("|")
    assert said in _library.INSTRUCTION_SETS
    assert torch == "False"


@native
@pytest.mark.parametrize("asked", ["plain", "sse9", "avx512", "avx2"])
def test_an_instruction_set_that_is_asked_for(asked: str) -> None:
    """That there is runs; another is said to be missing, and the best one runs."""
    said = run(STATUS, GATEWISE_ISA=asked).split("|")[0]
    best = run(STATUS).split("|")[0]
    if asked == "plain":
        assert said == "plain"
    elif asked == "sse9":
        assert said == f"{best} (GATEWISE_ISA=sse9 is none of avx512, avx2, plain)"
    else:
        assert said in (asked, f"{best} (GATEWISE_ISA={asked}, which this machine lacks)")


def test_off(tmp_path: Path) -> None:
    said, torch = run(STATUS, GATEWISE_NATIVE="off").split("|")
    assert (said, torch) == ("absent, torch computes: GATEWISE_NATIVE=off", "False")
    assert run(COMPUTE, GATEWISE_NATIVE="off").splitlines() == ["()|torch: GATEWISE_NATIVE=off"]


def test_a_library_that_is_none(tmp_path: Path) -> None:
    broken, absent = tmp_path / "broken.so", tmp_path / "absent.so"
    broken.write_bytes(b"\x7fELF and no more")
    for path in (broken, absent):
        said = run(STATUS, GATEWISE_NATIVE=str(path)).split("|")[0]
        assert said.startswith(f"absent, torch computes: {path.name} cannot be loaded: ")
        assert len(said.splitlines()) == 1
    names, path = run(COMPUTE, GATEWISE_NATIVE=str(broken)).split("|")
    assert names == "()"
    assert path.startswith("torch: broken.so cannot be loaded: ")


def test_another_library_altogether(tmp_path: Path) -> None:
    """One that loads and lacks our functions."""
    import ctypes.util

    libm = ctypes.util.find_library("m")
    if libm is None:
        pytest.skip("no libm to take for it")
    said = run(STATUS, GATEWISE_NATIVE=libm).split("|")[0]
    assert said.startswith(f"absent, torch computes: {libm} cannot be loaded: ")


@native
def test_a_library_of_another_version() -> None:
    script = "from gatewise.kernels import _library; _library.INTERFACE += 1; print(_library.status())"
    wanted = "absent, torch computes: _native.so is of another version of gatewise: install it again"
    assert run(script) == wanted


@native
def test_the_plain_kernels_are_for_high_accuracy() -> None:
    script = """
import torch
from gatewise import functional, kernels
x = torch.linspace(-4, 4, 100, requires_grad=True)
y = torch.ones(100)
assert torch.equal(functional.geglu(x, y), torch.nn.functional.gelu(x))
exact = torch.nn.functional.gelu(x.double())
assert (functional.gelu(x, accuracy="high") - exact).abs().max() < 3e-7
print(kernels.path("gelu", x), kernels.path("gelu", x, accuracy="high"), sep="|")
"""
    assert run(script, GATEWISE_ISA="plain") == "torch: the plain kernels are slower|native (plain)"


@native
def test_a_torch_without_what_is_needed() -> None:
    """An address that torch does not have: one line, and torch computes."""
    script = f"""
from gatewise.kernels import _library
core, _ = _library.load()
real = core.gatewise_shim_name
class Core:
    def __getattr__(self, name): return getattr(core, name)
    def gatewise_shim_name(self, i): return b"torch_from_tomorrow" if i == 3 else real(i)
_library.load = lambda status=_library.status(): (Core(), status)
{COMPUTE}
"""
    names, path = run(script).split("|")
    assert names == "()"
    assert path.startswith("torch: torch ")
    assert path.endswith(" has no torch_from_tomorrow: 2.10 or newer is needed")


@native
def test_without_the_private_names_of_torch_everything_is_right() -> None:
    script = """
import torch
from gatewise.kernels import _autograd
_autograd.PRIVATE = None
from gatewise import functional, kernels
from gatewise.activations import get
from gatewise.kernels._packed import gate_packed
for name in kernels.names():
    num = 2 if get(name).kind == "gate" else 1
    x = [torch.randn(300, requires_grad=True) for _ in range(num)]
    exact = [each.detach().double().requires_grad_() for each in x]
    y, z = getattr(functional, name)(*x, accuracy="high"), get(name).torch(*exact)
    torch.testing.assert_close(y.double(), z, atol=1e-6, rtol=1e-5)
    first = torch.autograd.grad(y.sum(), x, create_graph=True)
    wanted = torch.autograd.grad(z.sum(), exact, create_graph=True)
    for a, b in zip(first, wanted):
        torch.testing.assert_close(a.double(), b, atol=2e-6, rtol=1e-5)
    got = torch.autograd.grad((first[0] ** 2).sum(), x[0])[0]
    second = torch.autograd.grad((wanted[0] ** 2).sum(), exact[0])[0]
    torch.testing.assert_close(got.double(), second, atol=5e-5, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(getattr(functional, name)(*x, accuracy="high"), y, atol=0, rtol=0)
both = torch.randn(4, 8, requires_grad=True)
gate_packed("swiglu", both, accuracy="high").sum().backward()
print(len(kernels.names()), both.grad.shape)
"""
    assert run(script) == f"{len(kernels.names())} torch.Size([4, 8])"


def test_importing_the_package_brings_no_torch() -> None:
    script = "import sys, gatewise.kernels; print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert run(script) == "False False"


def test_an_install_without_the_library_says_what_may_be_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(_library.OVERRIDE, raising=False)
    monkeypatch.setattr(_library, "_installed", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "")
    look = _library.load.__wrapped__
    assert "no C++ compiler is on the path: install one, then pip install -v" in str(look()[1].reason)
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    reason = str(look()[1].reason)
    assert "g++ came later, or it failed: pip install -v --no-cache-dir" in reason
    assert len(reason.splitlines()) == 1
    other = compiler.rename(tmp_path / "mine")
    monkeypatch.setenv("CXX", str(other))
    assert f"{other} came later, or it failed" in str(look()[1].reason)
