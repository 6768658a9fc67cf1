"""What is promised of the accuracy of the kernels, and what was measured: every kernel, precision and path."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import product

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
from kernel_calls import Numbers, bits, by_formula, call, counts, dtype_of, fresh, to_brain, use
from numpy.typing import NDArray
from torch import Tensor

from gatewise import kernels
from gatewise.activations import Budget, ObservedError, get
from gatewise.core import GatewiseError
from gatewise.kernels._budgets import BUDGETS, DTYPES, PRECISIONS, PROMISES, Figures
from gatewise.kernels._figures import against, figures, seen, table
from gatewise.kernels._library import INSTRUCTION_SETS
from gatewise.kernels._observed import TORCH, budget, differentiated, function, observed, paths, using

Numbers64 = NDArray[np.float64]
NAMES, HERE = kernels.names(), paths()
TORCH_DTYPES = {name: torch.bfloat16 if name == "bfloat16" else torch.float32 for name in PRECISIONS}


def on(path: str, *rest: str) -> ParameterSet:
    """That path after the rest, skipped in so many words where the machine has none."""
    lacks = pytest.mark.skipif(path not in HERE, reason=f"this machine has no {path}")
    return pytest.param(*rest, path, id="-".join((*rest, path)), marks=lacks)


every_kernel = pytest.mark.parametrize(
    ("name", "precision", "path"), [on(path, *rest) for *rest, path in product(NAMES, PRECISIONS, INSTRUCTION_SETS)]
)
every_path = pytest.mark.parametrize("path", [on(path) for path in INSTRUCTION_SETS])


@pytest.fixture(autouse=True)
def _the_same_path_afterwards() -> Iterator[None]:
    core = kernels._library.load()[0]
    assert core is not None, kernels.status()
    before = core.gatewise_isa()
    yield
    assert core.gatewise_use_isa(before)


def test_every_kernel_has_its_budgets() -> None:
    assert set(BUDGETS) == set(product(NAMES, PRECISIONS, INSTRUCTION_SETS))
    assert set(PROMISES) == set(PRECISIONS)
    assert HERE
    assert HERE[-1] == "plain"
    assert kernels.status().instruction_set in HERE


def test_the_promises_are_those_of_the_documentation() -> None:
    default, high, brain = (PROMISES[precision] for precision in PRECISIONS)
    assert (default.absolute, default.ulp_right) == (4e-7, 4)
    assert (high.ulp_near, high.ulp) == (4, 16)
    assert (brain.ulp, brain.misrounded) == (1, 0.001)
    assert (brain.misrounded_product, brain.off_product) == (0.001, 0.001)
    assert all(promise.gradient < 1.1e-5 for promise in PROMISES.values())


@every_kernel
def test_the_promise_is_kept(name: str, precision: str, path: str) -> None:
    found = seen(name, precision, path)
    print(name, precision, path, found)  # seen with `pytest -rP`, and when it fails
    assert against(found, PROMISES[precision]) == []


@every_kernel
def test_the_measured_budget_is_kept_and_tight(name: str, precision: str, path: str) -> None:
    found, allowed = observed(name, precision, path), budget(name, precision, path)
    for one, bound in ((found.value, allowed.value), (found.gradient, allowed.gradient)):
        print(f"{name} {precision} {path}: {one}")
        assert one.ulp <= bound.ulp
        assert one.absolute <= bound.absolute
        assert bound.ulp <= 4 * one.ulp
        assert bound.absolute <= 4 * one.absolute


def within(found: ObservedError, allowed: Budget) -> bool:
    pairs = (found.value, allowed.value), (found.gradient, allowed.gradient)
    return all(one.ulp <= bound.ulp and one.absolute <= bound.absolute for one, bound in pairs)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_budgets_and_promises_would_catch_a_wrong_kernel(name: str, precision: str) -> None:
    path, right = HERE[0], function(name, precision, HERE[0])
    off = 1 + (2.0**-6 if precision == "bfloat16" else 2.0**-19)
    wrong: list[Callable[..., Tensor]] = [lambda *x: right(*x) * off, lambda *x: right(*x) * 0]
    for of in wrong:
        assert not within(observed(name, precision, path, of), budget(name, precision, path))
        assert against(figures(name, precision, path, of=of), PROMISES[precision])


@pytest.mark.parametrize("name", ["gelu", "geglu", "gelu_tanh", "geglu_tanh"])
def test_torch_itself_does_not_keep_the_promise(name: str) -> None:
    for precision in ("float32", "bfloat16"):
        assert against(seen(name, precision, TORCH), PROMISES[precision])


def test_a_gate_is_looked_at_with_other_inputs_than_one() -> None:
    """A kernel that is right only where `up` leaves the activation as it is, or inside the clamps, is caught."""
    for name in ("swiglu", "swiglu_clamped"):
        right = function(name, "float32", HERE[0])
        neutral = 0.0 if "clamped" in name else 1.0
        ignored = figures(
            name, "float32", HERE[0], of=lambda g, u, f=right, n=neutral: f(g, torch.full_like(u, n)) + 0 * u
        )
        assert against(ignored, PROMISES["float32"])
    right = function("swiglu_clamped", "float32", HERE[0])
    unclipped = figures(
        "swiglu_clamped", "float32", HERE[0], of=lambda g, u: right(g, u / 2) + right(g, u - u / 2) - right(g, 0 * u)
    )
    assert against(unclipped, PROMISES["float32"])


# Limits and signs.


def special(precision: str) -> Tensor:
    """Both infinities, the largest and the smallest numbers, zeros of both signs, 1 and NaN."""
    info = torch.finfo(TORCH_DTYPES[precision])
    ends = [np.inf, info.max, 1e20, 1.0, info.tiny, info.tiny / 64, 4 * info.tiny * info.eps, 0.0]
    return torch.tensor([*ends, *(-x for x in ends), np.nan], dtype=torch.float64).to(TORCH_DTYPES[precision])


def alike(got: Numbers64, right: Numbers64, dtype: torch.dtype) -> NDArray[np.bool_]:
    """The right number: exactly where it is 0, infinite or NaN, else within 8 units of float32, one of bfloat16."""
    rounded = torch.from_numpy(right).to(dtype).double().numpy()
    info = torch.finfo(dtype)
    units = 8 if dtype == torch.float32 else 1
    with np.errstate(all="ignore"):
        near = np.abs(got - rounded) <= units * info.eps * np.maximum(np.abs(rounded), info.tiny)
    exact = (right == 0) | ~np.isfinite(rounded)
    return (got == rounded) | (np.isnan(got) & np.isnan(rounded)) | (near & ~exact)


@every_kernel
def test_limits_are_exact(name: str, precision: str, path: str) -> None:
    """At +-0, +-inf, NaN, subnormal and huge numbers, in value (with its sign) and gradient; all pairs for a gate."""
    spec, x = get(name), special(precision)
    inputs = (x,) if spec.kind == "scalar" else tuple(m.flatten() for m in torch.meshgrid(x, x, indexing="ij"))
    exact = [each.double().numpy() for each in inputs]
    of, ones = function(name, precision, path), torch.ones_like(inputs[0])
    value, *gradients = (t.double().numpy() for t in differentiated(of, path, inputs, ones))
    with np.errstate(all="ignore"):
        right = (spec.reference(*exact), *spec.gradients(*exact))
    wrong = ~alike(value, right[0], x.dtype) | ((np.signbit(value) != np.signbit(right[0])) & ~np.isnan(right[0]))
    assert not wrong.any(), told(wrong, exact, value, right[0])
    for which, (got, want) in enumerate(zip(gradients, right[1:], strict=True)):
        wrong = ~alike(got, want, x.dtype)
        if name == "swiglu_clamped":  # where a clamp holds, its gradient is 0 even if the other input is NaN
            held = exact[0] > 7 if which == 0 else np.abs(exact[1]) > 7
            wrong &= ~(held & (got == 0))
        assert not wrong.any(), f"by input {which}: {told(wrong, exact, got, want)}"


def told(wrong: NDArray[np.bool_], inputs: list[Numbers64], got: Numbers64, right: Numbers64) -> str:
    """The first few."""
    some = np.flatnonzero(wrong)[:5]
    return "; ".join(f"at {[float(x[i]) for x in inputs]} {got[i]}, right is {right[i]}" for i in some)


@every_path
def test_the_limits_that_are_promised_by_name(path: str) -> None:
    for name, precision in product(("gelu", "gelu_tanh", "silu", "quick_gelu"), PRECISIONS):
        of, dtype = function(name, precision, path), TORCH_DTYPES[precision]
        y = of(torch.tensor([np.inf, -np.inf, 0.0, -0.0, np.nan], dtype=dtype))
        assert y[0] == np.inf
        assert y[1:4].tolist() == [0.0, 0.0, 0.0]
        assert torch.signbit(y[1:4]).tolist() == [True, False, True]
        assert torch.isnan(y[4])
        assert of(torch.tensor(-np.inf, dtype=dtype)).item() == 0.0  # without dimensions


# The same number gives the same bits wherever it stands.


def mixed(precision: str, count: int, seed: int) -> Numbers:
    """Numbers of every size, special ones among them, so that every way of computing stands beside every other."""
    draw = np.random.default_rng(seed)
    x = (draw.standard_normal(count) * draw.choice([1e-42, 1e-3, 1, 4, 20, 1e10], count)).astype(np.float32)
    x[::13] = np.resize(
        np.float32([0, -0.0, np.inf, -np.inf, np.nan, -5.27, 5.61, -87.5, -14.5, 7, 3e38]), len(x[::13])
    )
    return to_brain(x) if precision == "bfloat16" else x


@every_kernel
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_neighbours_and_places_do_not_matter(name: str, precision: str, path: str, backward: bool) -> None:
    assert use(path)
    count = 1531
    num_in, num_out = counts(name, backward)
    inputs = [mixed(precision, count, seed) for seed in range(num_in)]
    alone = fresh(name, backward, precision, [x.reshape(-1, 1) for x in inputs])  # rows of one number
    alone = [bits(y).reshape(-1) for y in alone]
    order = np.random.default_rng(1).permutation(count)
    moved = [np.ascontiguousarray(x[order]) for x in inputs]
    for got, want in zip(fresh(name, backward, precision, moved), alone, strict=True):
        assert np.array_equal(bits(got), want[order])
    for offset, stream in ((0, 0), (0, 1), (1, 0), (7, 1), (16, 0), (31, 1)):
        size = count - offset
        places = [np.zeros(count + 64, dtype_of(precision)) for _ in range(num_in + num_out)]
        parts = [place[offset + 3 * i :][:size] for i, place in enumerate(places)]
        for part, x in zip(parts, inputs, strict=False):
            part[:] = x[:size]
        call(name, backward, precision, parts[:num_in], parts[num_in:], stream=stream)
        for got, want in zip(parts[num_in:], alone, strict=True):
            assert np.array_equal(bits(got), want[:size])


@every_path
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", NAMES)
def test_tables_hold_what_the_formula_gives(name: str, path: str, backward: bool) -> None:
    """At all numbers of bfloat16, beside any and beside ordinary ones: long calls read tables, short compute."""
    assert use(path)
    num_in, num_out = counts(name, backward)
    draw = np.random.default_rng(7)
    every = np.concatenate([draw.permutation(2**16), draw.permutation(2**16)]).astype(np.uint16)
    inputs: list[Numbers] = [every]
    for seed in range(1, num_in):
        ordinary = to_brain(draw.standard_normal(2**16).astype(np.float32))
        inputs.append(np.concatenate([mixed("bfloat16", 2**16, seed), ordinary]))
    want = [bits(y) for y in by_formula(name, backward, "bfloat16", inputs)]
    nan = np.uint16(0x7FC1)
    for offset, stream in ((0, 0), (0, 1), (1, 0), (1, 1), (7, 1), (31, 0)):
        places = [np.full(len(every) + 256, nan) for _ in range(num_in + num_out)]
        parts = [place[offset + 3 * i * (offset % 2) :][: len(every)] for i, place in enumerate(places)]
        for part, x in zip(parts, inputs, strict=False):
            part[:] = x
        call(name, backward, "bfloat16", parts[:num_in], parts[num_in:], stream=stream)
        for got, right in zip(parts[num_in:], want, strict=True):
            assert np.array_equal(bits(got), right)
        for place, part in zip(places[num_in:], parts[num_in:], strict=True):
            assert int((place == nan).sum()) >= len(place) - len(part)
            part[:] = nan
            assert (place == nan).all(), "written beside"


@every_path
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_rows_streams_and_threads_give_the_same_bits(name: str, precision: str, path: str) -> None:
    draw = torch.Generator().manual_seed(3)
    packed = (4 * torch.randn(150, 2 * 999, generator=draw)).to(TORCH_DTYPES[precision])
    halves = packed.chunk(2, -1)
    inputs = halves if get(name).kind == "gate" else halves[:1]
    of, ones = function(name, precision, path), torch.ones_like(halves[0])
    want = [differentiated(of, path, tuple(x.contiguous() for x in inputs), ones)]
    want += [differentiated(of, path, inputs, ones)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        want += [differentiated(of, path, inputs, ones)]
    finally:
        torch.set_num_threads(before)
    for others in want[1:]:
        for first, other in zip(want[0], others, strict=True):
            assert torch.equal(first, other)


def digest() -> str:
    """Of what every kernel gives on every path."""
    found = hashlib.sha256()
    for name, precision, path in product(NAMES, PRECISIONS, HERE):
        x = torch.from_numpy(mixed("float32", 777, 5).astype(np.float32)).to(TORCH_DTYPES[precision])
        inputs = (x,) if get(name).kind == "scalar" else (x, x.flip(0))
        for y in differentiated(function(name, precision, path), path, inputs, torch.ones_like(x)):
            found.update(torch.nan_to_num(y.float(), nan=0.125).numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_what_torch_runs_with_does_not_matter(capability: str) -> None:
    """The same bits where torch itself is told to use fewer instructions."""
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    code = "import test_kernels_accuracy as t, torch; print(t.digest(), torch.backends.cpu.get_cpu_capability())"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=os.path.dirname(__file__),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs, told = done.stdout.split()
    assert told == capability.upper()
    assert theirs == digest()


def digest_of_tables() -> str:
    """Of what every kernel gives for every number of bfloat16, by table."""
    found = hashlib.sha256()
    for name, path in product(NAMES, [path for path in HERE if path != "plain"]):
        x = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
        inputs = (x,) if get(name).kind == "scalar" else (x, x.flip(0))
        for y in differentiated(function(name, "bfloat16", path), path, inputs, torch.ones_like(x)):
            found.update(torch.nan_to_num(y.float(), nan=0.125).numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("gather", ["on", "off"])
def test_how_a_table_is_read_does_not_matter(gather: str) -> None:
    """The same bits by gather instructions as by one load after the other; this process takes what is quicker here."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import test_kernels_accuracy as t; print(t.digest_of_tables())"],
        cwd=os.path.dirname(__file__),
        env={**os.environ, "GATEWISE_GATHER": gather},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest_of_tables()


# Words.


def test_unknown_words_get_one_line() -> None:
    with pytest.raises(GatewiseError, match="instruction set"), using("avx513"):
        pass
    with pytest.raises(GatewiseError, match="precision"):
        function("gelu", "float16", HERE[0])
    with pytest.raises(GatewiseError, match="kernel"):
        function("mish", "float32", HERE[0])


def test_the_path_is_what_was_asked_for_inside_and_what_it_was_outside() -> None:
    core = kernels._library.load()[0]
    assert core is not None
    before = core.gatewise_isa()
    for path in HERE:
        with using(path):
            assert core.gatewise_isa().decode() == path
        assert core.gatewise_isa() == before


def test_the_table_has_every_kernel_and_torch_beside_it() -> None:
    some = ("gelu", "swiglu_clamped")
    lines = table(only=some)
    assert len({line.count("|") for line in lines}) == 1
    for name, precision in product(some, PRECISIONS):
        ways = (*HERE, *((TORCH,) if precision != "float32_high" else ()))
        assert sum(line.startswith(f"| {name} | {precision} |") for line in lines) == len(ways)
    assert sum("promised" in line for line in lines) == len(PRECISIONS)
    assert set(DTYPES) == set(PRECISIONS)
    assert {field.name for field in fields(Figures)} >= {"absolute", "ulp", "misrounded", "gradient"}
