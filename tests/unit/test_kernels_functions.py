"""The functions for users: which way a call takes, what they give, what they refuse, threads."""

import os
import sys
import threading
import time
from typing import Any

import pytest
import torch
from torch import Tensor

from gatewise import activations, functional, kernels
from gatewise.activations import get
from gatewise.core import GatewiseError
from gatewise.kernels import _functions
from gatewise.kernels._packed import gate_packed

pytestmark = pytest.mark.skipif(not kernels.names(), reason=f"native kernels: {kernels.status()}")

NAMES = tuple(_functions.FUNCTIONS)
GATES = [name for name in NAMES if get(name).kind == "gate"]
every = pytest.mark.parametrize("name", NAMES)
gates = pytest.mark.parametrize("name", GATES)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def made(name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, *, grad: bool = False) -> list[Tensor]:
    return [torch.randn(shape).to(dtype).requires_grad_(grad) for _ in range(1 + (name in GATES))]


def op(name: str, suffix: str = "") -> Any:
    return getattr(torch.ops.gatewise, name + suffix).default


def equal(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, atol=0, rtol=0)


def message(error: pytest.ExceptionInfo[GatewiseError]) -> str:
    """Its first line; a second one names what is valid."""
    lines = str(error.value).splitlines()
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("valid: "))
    return lines[0]


def test_every_function_of_the_library_is_offered() -> None:
    assert kernels.names() == NAMES
    assert set(_functions.SMALL) < set(NAMES)


@every
@dtypes
@pytest.mark.parametrize("grad", [False, True])
def test_the_kernel_computes_and_says_so(name: str, dtype: torch.dtype, grad: bool) -> None:
    plain = kernels.status().instruction_set == "plain"  # left to torch
    for accuracy in ("high",) if plain else ("default", "high"):
        num = 2 if accuracy == "high" else _functions.SMALL.get(name, 0) + 1
        x = made(name, (num,), dtype, grad=grad)
        assert kernels.path(name, *x, accuracy=accuracy) == f"native ({kernels.status().instruction_set})"
        y = getattr(functional, name)(*x, accuracy=accuracy)
        equal(y, op(name)(*x, accuracy == "high"))
        assert y.requires_grad is grad
        if grad:
            weight = torch.randn(num).to(dtype)
            wanted = op(name, "_backward")(weight, *x, accuracy == "high")
            for got, slope in zip(torch.autograd.grad(y, x, weight), (wanted,) if len(x) == 1 else wanted, strict=True):
                equal(got, slope)


@pytest.mark.skipif(kernels.status().instruction_set == "plain", reason="everything is left to torch")
@pytest.mark.parametrize("name", sorted(_functions.SMALL))
def test_small_gradients_are_torchs_and_it_is_said(name: str) -> None:
    x = made(name, (_functions.SMALL[name],), grad=True)
    assert kernels.path(name, *x) == f"torch: a gradient of at most {x[0].numel()} numbers"
    equal(getattr(functional, name)(*x), get(name).torch(*x))
    with torch.no_grad():
        assert kernels.path(name, *x).startswith("native")
        equal(getattr(functional, name)(*x), op(name)(*x))


@every
def test_what_has_no_kernel_is_the_stock_code(name: str) -> None:
    x = made(name, (3, 4))
    sparse = [each.to_sparse() for each in x]
    for inputs, why in (
        ([each.double() for each in x], "for float32 and bfloat16, not torch.float64"),
        ([each.half() for each in x], "for float32 and bfloat16, not torch.float16"),
        ([each.to("meta") for each in x], "for the CPU, not meta"),
    ):
        assert kernels.path(name, *inputs) == f"torch: the kernels are {why}"
        wanted, got = getattr(activations, name)(*inputs), getattr(functional, name)(*inputs)
        assert (got.shape, got.dtype, got.device) == (wanted.shape, wanted.dtype, wanted.device)
        if inputs[0].is_cpu:
            equal(got, wanted)
            out = torch.empty_like(inputs[0])
            equal(getattr(functional, name)(*inputs, out=out), wanted)
    assert kernels.path(name, *sparse) == "torch: the kernels are for dense tensors, not torch.sparse_coo"


def test_what_torch_itself_does_not_compute_is_said() -> None:
    for x, words in (
        (torch.eye(3).to_sparse(), "torch.float32 of layout torch.sparse_coo"),
        (torch.eye(3).to(torch.float8_e4m3fn), "torch.float8_e4m3fn of layout torch.strided"),
    ):
        with pytest.raises(GatewiseError) as error:
            functional.silu(x)
        assert message(error) == f"silu: torch does not compute it for {words} on cpu"
    assert kernels.path("relu", torch.eye(3).to_sparse()) == "torch: relu has no kernel"


@every
def test_out_of_other_dtypes_is_held_to_the_same_rules(name: str) -> None:
    memory = torch.randn(30).double()
    x = [memory[:24]] * len(made(name, (1,)))
    with pytest.raises(GatewiseError) as error:
        getattr(functional, name)(*x, out=memory[6:])
    assert message(error) == f"{name}: an output (24,) overlaps an input (24,) without being it"
    halves = torch.randn(2, 3, 8).double().chunk(2, -1)  # beside each other, not over
    getattr(functional, name)(*[halves[0]] * len(x), out=halves[1])
    integers = [torch.arange(4)] * len(x)
    with pytest.raises(GatewiseError) as error:
        getattr(functional, name)(*integers, out=torch.empty(4))
    assert "must have a floating dtype, got torch.int64" in message(error)


@every
def test_out_under_a_transform_is_one_line(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        x = made(name, (4, 6), dtype)
        with pytest.raises(GatewiseError) as error:
            torch.vmap(lambda *row: getattr(functional, name)(*row, out=torch.empty(6, dtype=dtype)))(*x)  # noqa: B023
        assert message(error) == f"{name}: out= cannot be written to under this transform of torch.func; leave it out"


def test_a_path_of_what_cannot_be_called_is_refused() -> None:
    x: Any = torch.randn(3)
    for arguments, words in (
        (("gleu", x), "unknown activation 'gleu'; did you mean 'glu'?"),
        (("gelu",), "path: gelu takes 1 tensor, got none"),
        (("gelu", [1.0]), "path: gelu takes 1 tensor, got list"),
        (("swiglu", x), "path: swiglu takes 2 tensors, got Tensor"),
        (("swiglu", x, x[:2]), "swiglu: gate and up must have one shape, got [3] and [2]"),
        (("swiglu", x, x.double()), "swiglu: gate and up must have one dtype, got torch.float32 and torch.float64"),
    ):
        with pytest.raises(GatewiseError) as error:
            kernels.path(*arguments)
        assert message(error) == words


@every
def test_out(name: str) -> None:
    x = made(name, (4, 6))
    wanted = getattr(functional, name)(*x)
    out = torch.full((4, 6), torch.nan)
    assert getattr(functional, name)(*x, out=out) is out
    equal(out, wanted)
    assert getattr(functional, name)(*x, out=x[0]) is x[0]
    equal(x[0], wanted)


@every
def test_a_bad_out_is_one_line(name: str) -> None:
    def refused(x: list[Tensor], out: Any) -> str:
        with pytest.raises(GatewiseError) as error:
            getattr(functional, name)(*x, out=out)
        return message(error)

    x = made(name, (4, 6))
    wanted = f"{name}: out must be [4, 6] of torch.float32, got"
    assert refused(x, torch.empty(6, 4)) == f"{wanted} [6, 4] of torch.float32"
    assert refused(x, torch.empty(4, 6).bfloat16()) == f"{wanted} [4, 6] of torch.bfloat16"
    assert refused(x, [1.0]) == f"{name}: out must be a tensor, got list"
    assert refused(x, torch.empty(4, 6, device="meta")) == f"{name}: out must be on cpu, got meta"
    memory = torch.randn(30)
    shifted = [memory[:24].view(4, 6)] * len(x)
    overlap = f"{name}: an output (4, 6) overlaps an input (4, 6) without being it"
    assert refused(shifted, memory[6:].view(4, 6)) == overlap
    assert refused(x, torch.empty(1, 6).expand(4, 6)) == f"{name}: an output (4, 6) overlaps itself"
    leaf = [each.requires_grad_() for each in x]
    records = f"{name}: out= records no gradient; leave it out, or call under torch.no_grad()"
    assert refused(leaf, torch.empty(4, 6)) == records


@every
def test_a_bad_accuracy_is_one_line(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(GatewiseError) as error:
            getattr(functional, name)(*made(name, (2,), dtype), accuracy="hihg")
        assert message(error) == "unknown accuracy 'hihg'; did you mean 'high'?"


@gates
def test_inputs_that_differ_are_one_line(name: str) -> None:
    for inputs, wrong in (
        ((torch.zeros(2, 3), torch.zeros(3)), "shape, got [2, 3] and [3]"),
        ((torch.zeros(2, 3), torch.zeros(3, 2)), "shape, got [2, 3] and [3, 2]"),
        ((torch.zeros(3), torch.zeros(3).bfloat16()), "dtype, got torch.float32 and torch.bfloat16"),
    ):
        for each in (inputs, tuple(t.requires_grad_() for t in inputs)):
            with pytest.raises(GatewiseError) as error:
                getattr(functional, name)(*each)
            assert message(error) == f"{name}: gate and up must have one {wrong}"
    for inputs in ((torch.zeros(3), torch.zeros(3, device="meta")), (torch.zeros(3, device="meta"), torch.zeros(3))):
        with pytest.raises(GatewiseError) as error:
            getattr(functional, name)(*inputs)
        devices = f"{inputs[0].device} and {inputs[1].device}"
        assert message(error) == f"{name}: gate and up must be on one device, got {devices}"
    with pytest.raises(GatewiseError) as error:
        getattr(functional, name)(torch.zeros(3), 1.0)
    assert message(error) == f"{name}: up must be a tensor, got float"


@gates
@dtypes
def test_packed(name: str, dtype: torch.dtype) -> None:
    both = torch.randn(3, 4, 2 * 51).to(dtype).requires_grad_()
    gate, up = both.detach().chunk(2, -1)
    for accuracy in ("default", "high"):
        wanted = getattr(functional, name)(gate, up, accuracy=accuracy)
        equal(gate_packed(name, both.detach(), accuracy=accuracy), wanted)
    y = gate_packed(name, both, accuracy="high")
    equal(y, wanted)
    weight = torch.randn(3, 4, 51).to(dtype)
    slopes = torch.cat(op(name, "_backward")(weight, gate, up, True), -1)
    equal(torch.autograd.grad(y, both, weight)[0], slopes)
    out = torch.empty(3, 4, 51).to(dtype)
    equal(gate_packed(name, both.detach(), accuracy="high", out=out), wanted)


@gates
def test_packed_further_derivatives_and_transforms(name: str) -> None:
    both = torch.randn(5, 8)
    leaf, exact = both.clone().requires_grad_(), both.double().requires_grad_()
    y, z = gate_packed(name, leaf, accuracy="high"), get(name).torch(*exact.chunk(2, -1))
    (first,) = torch.autograd.grad(y.sum(), leaf, create_graph=True)
    (wanted,) = torch.autograd.grad(z.sum(), exact, create_graph=True)
    torch.testing.assert_close(first.double(), wanted, atol=2e-6, rtol=1e-5)
    got = torch.autograd.grad((first * first).sum(), leaf)[0]
    second = torch.autograd.grad((wanted * wanted).sum(), exact)[0]
    torch.testing.assert_close(got.double(), second, atol=5e-5, rtol=1e-4)
    rows = torch.vmap(torch.func.grad(lambda row: gate_packed(name, row).sum()))(both)
    torch.testing.assert_close(rows.double(), wanted.detach(), atol=2e-6, rtol=1e-5)


def test_packed_refuses_in_one_line() -> None:
    def refused(name: str, both: Any, **more: Any) -> str:
        with pytest.raises(GatewiseError) as error:
            gate_packed(name, both, **more)
        return message(error)

    halves = "swiglu: gate and up must be the two halves of an even width, got"
    assert refused("swiglu", torch.zeros(4, 7)) == f"{halves} [4, 7]"
    assert refused("swiglu", torch.tensor(1.0)) == f"{halves} []"
    assert refused("swiglu", 1.0) == "swiglu: a packed projection must be a tensor, got float"
    assert refused("swiglo", torch.zeros(4, 8)) == "unknown gate 'swiglo'; did you mean 'swiglu'?"
    assert refused("swiglu", torch.zeros(4, 8), accuracy="hihg") == "unknown accuracy 'hihg'; did you mean 'high'?"
    assert refused("swiglu", torch.arange(4)) == "swiglu: gate must have a floating dtype, got torch.int64"


@every
@dtypes
def test_threads_do_not_change_a_bit(name: str, dtype: torch.dtype) -> None:
    x = made(name, (7, 20011), dtype)
    weight = torch.randn(7, 20011).to(dtype)
    before = torch.get_num_threads()
    found: list[list[Tensor]] = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            slopes = op(name, "_backward")(weight, *x)
            found.append([op(name)(*x), *(slopes if isinstance(slopes, tuple) else (slopes,))])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            equal(other, one)


def test_two_python_threads_at_once() -> None:
    x = {name: made(name, (40000,)) for name in NAMES}
    wanted = {name: getattr(functional, name)(*x[name]) for name in NAMES}
    wrong: list[str] = []

    def work() -> None:
        wrong.extend(
            name
            for _ in range(20)
            for name in NAMES
            if not torch.equal(getattr(functional, name)(*x[name]), wanted[name])
        )

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("grad", [False, True])
def test_a_kernel_lets_other_python_threads_run(grad: bool) -> None:
    """The interpreter never switches by itself here: the other thread runs where a kernel lets go of it, or never."""
    x = made("swiglu", (1 << 20,), grad=grad)
    weight = torch.ones(1 << 20)
    ready, ran = threading.Lock(), threading.Event()
    ready.acquire()

    def other() -> None:
        with ready:
            ran.set()

    thread = threading.Thread(target=other)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        ready.release()
        end = time.monotonic() + 60
        while not ran.is_set() and time.monotonic() < end:
            if grad:
                op("swiglu", "_backward")(weight, *x)
            else:
                functional.swiglu(*x)
        seen = ran.is_set()
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert seen


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_the_number_of_threads_is_torchs() -> None:
    """In a process whose pool has not been started: two threads start one worker, one thread starts none."""
    import subprocess

    script = """
import os, torch
from gatewise import functional
def running():
    return set(os.listdir("/proc/self/task"))
torch.set_num_threads(1)  # before anything starts the pool
x = torch.ones(1 << 20)
functional.silu(x)
before = running()
functional.silu(x)
same = running()
torch.set_num_threads(2)
functional.silu(x)
print(len(same - before), len(running() - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["0", "1"]
