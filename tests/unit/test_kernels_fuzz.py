"""Shapes, strides, aliasing and edges of memory, drawn at random: against the core itself, and through torch."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gatewise import kernels
from gatewise.activations import get
from gatewise.core import GatewiseError
from gatewise.kernels._library import INSTRUCTION_SETS
from gatewise.kernels._observed import paths, using

HERE = Path(__file__).parent
ROUNDS, LONG_ROUNDS, PRODUCTS = 2500, 150, 1500
WITH_TABLES = ("avx512", "avx2")


def on(path: str) -> ParameterSet:
    """That path, skipped in so many words where the machine has none."""
    lacks = path not in paths()
    return pytest.param(path, marks=pytest.mark.skipif(lacks, reason=f"this machine has no {path}"))


every_path = pytest.mark.parametrize("path", [on(path) for path in INSTRUCTION_SETS])
every_path_with_tables = pytest.mark.parametrize("path", [on(path) for path in WITH_TABLES])


def guarded(tmp_path: Path, *arguments: object, script: str = "kernel_guards.py") -> tuple[int, str]:
    """The exit code of that script, and what it said, with the case that it was at."""
    case = tmp_path / "case"
    done = subprocess.run(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        env={**os.environ, "GATEWISE_FUZZ_CASE": str(case)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    at = case.read_text(encoding="utf-8").strip() if case.exists() else "nowhere"
    return done.returncode, f"{done.stdout}{done.stderr[-2000:]}\nat: {at}"


@every_path
def test_no_length_touches_what_lies_beside(path: str, tmp_path: Path) -> None:
    code, said = guarded(tmp_path, "tails", path)
    assert code == 0, said
    assert said.startswith("sound")


def rounds_are_sound(folder: Path, what: str, path: str, rounds: int, **how: str) -> None:
    """Rounds of random calls between guard pages: every one is sound. Other calls each time outside CI."""
    seed = 0 if os.environ.get("CI") else int.from_bytes(os.urandom(4), "big")
    code, said = guarded(folder, what, path, rounds, seed, **how)
    assert code == 0, f"seed {seed}: {said}"
    assert said.startswith("sound")


@every_path
def test_random_calls_give_the_bits_of_plain_ones(path: str, tmp_path: Path) -> None:
    rounds_are_sound(tmp_path, "rounds", path, ROUNDS)


@every_path
def test_random_long_calls_give_the_bits_of_short_ones(path: str, tmp_path: Path) -> None:
    """By table in bfloat16, with heads, tails, rows and cuts by formula."""
    rounds_are_sound(tmp_path, "long", path, LONG_ROUNDS)


@every_path
def test_random_products_of_few_rows_are_their_sums_and_touch_nothing_else(path: str, tmp_path: Path) -> None:
    rounds_are_sound(tmp_path, "rounds", path, PRODUCTS, script="kernel_products.py")


@every_path_with_tables
def test_tables_are_made_once_whoever_asks_first(path: str, tmp_path: Path) -> None:
    """By several threads at once; and from the length on that these tests take for the least."""
    code, said = guarded(tmp_path, path, script="kernel_threads.py")
    assert code == 0, said
    short, long, *rest = said.split()
    assert rest[0] == "sound"
    assert int(short) < 2**18
    assert int(long) > 2**19


@every_path
@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("script", ["guards", "products", "panels", "panel_parts"])
def test_one_number_too_many_ends_the_process_and_says_where(path: str, kind: str, script: str, tmp_path: Path) -> None:
    code, said = guarded(tmp_path, "overrun", path, kind, script=f"kernel_{script}.py")
    assert code < 0, said  # by a signal: an error of Python's would prove nothing
    assert said.endswith(f"at: overrun {kind}")


# Through torch: any view, compared with the stock code in float64 and with the same numbers in one piece.

FUNCTIONS = kernels.FUNCTIONS
DTYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True, kw_only=True)
class View:
    """How a tensor lies in memory: order, steps and room of its dimensions, one of them repeated, and an offset."""

    order: tuple[int, ...]
    steps: tuple[int, ...]
    room: tuple[int, ...]
    repeated: int | None
    offset: int

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The memory, all 77, and a view of it in that shape."""
        stored = [shape[d] * s + r for d, s, r in zip(self.order, self.steps, self.room, strict=True)]
        memory = torch.full((self.offset + int(np.prod(stored)) + 3,), 77.0, dtype=dtype)
        view = memory[self.offset :][: int(np.prod(stored))].view(stored)
        for place, (d, step) in enumerate(zip(self.order, self.steps, strict=True)):
            first = self.room[place] // 2
            view = view.narrow(place, first, shape[d] * step)[(slice(None),) * place + (slice(None, None, step),)]
        back = [self.order.index(d) for d in range(len(shape))]
        return memory, view.permute(back)

    def filled(self, shape: tuple[int, ...], dtype: torch.dtype, draw: torch.Generator) -> Tensor:
        """Random numbers in that layout; a repeated dimension has stride 0."""
        _, view = self.empty(shape, dtype)
        view.copy_(4 * torch.randn(shape, generator=draw))
        if self.repeated is not None and shape[self.repeated] > 1:
            view = view.narrow(self.repeated, 0, 1).expand(shape)
        return view


def views(dims: int, *, written: bool = False) -> st.SearchStrategy[View]:
    sizes = st.tuples(*[st.sampled_from([1, 1, 2, 3])] * dims)
    repeated = st.none() if written or not dims else st.one_of(st.none(), st.none(), st.integers(0, dims - 1))
    room = st.tuples(*[st.sampled_from([0, 0, 1, 5, 16])] * dims)
    return st.builds(
        View,
        order=st.permutations(range(dims)).map(tuple),
        steps=sizes,
        room=room,
        repeated=repeated,
        offset=st.integers(0, 33),
    )


shapes = st.one_of(
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
    st.tuples(st.integers(1, 5), st.integers(1, 300)),
    st.tuples(st.integers(1, 3000)),
)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One call: what of, on what, laid out how."""

    name: str
    accuracy: str
    dtype: torch.dtype
    path: str
    shape: tuple[int, ...]
    views: tuple[View, ...]
    out: View
    seed: int

    def inputs(self) -> tuple[Tensor, ...]:
        draw = torch.Generator().manual_seed(self.seed)
        count = 2 if get(self.name).kind == "gate" else 1
        return tuple(view.filled(self.shape, self.dtype, draw) for view in self.views[:count])


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    shape = draw(shapes)
    return Drawn(
        name=draw(st.sampled_from(sorted(FUNCTIONS))),
        accuracy=draw(st.sampled_from(["default", "high"])),
        dtype=draw(st.sampled_from(DTYPES)),
        path=draw(st.sampled_from(paths())),
        shape=shape,
        views=tuple(draw(views(len(shape))) for _ in range(3)),
        out=draw(views(len(shape), written=True)),
        seed=draw(st.integers(0, 2**31)),
    )


def close(got: Tensor, right: Tensor, scale: Tensor, absolute: float) -> None:
    """Within `absolute` for each unit of what multiplies, and a few roundings of the result."""
    eps = 1.01 * 2.0**-8 if got.dtype == torch.bfloat16 else 2.0**-22
    far = (got.double() - right).abs() > eps * right.abs() + absolute * scale
    assert not far.any(), (got[far][:3], right[far][:3])


@settings(max_examples=120)
@given(drawn())
def test_any_view_gives_the_numbers_of_the_stock_code(case: Drawn) -> None:
    inputs = case.inputs()
    leaves = tuple(x.double().requires_grad_() for x in inputs)
    exact = get(case.name).torch(*leaves)
    draw = torch.Generator().manual_seed(case.seed + 1)
    grad = case.views[2].filled(case.shape, case.dtype, draw)
    right = torch.autograd.grad(exact, leaves, grad.double())
    operator, high = getattr(torch.ops.gatewise, case.name), case.accuracy == "high"
    backward = getattr(torch.ops.gatewise, case.name + "_backward")
    with using(case.path):
        value, gradients = operator(*inputs, high), backward(grad, *inputs, high)
        again = operator(*(x.contiguous() for x in inputs), high)
    assert torch.equal(value, again)
    assert value.shape == case.shape
    scale = 1.0 + inputs[-1].double().abs()
    close(value, exact.detach(), scale, 4e-7)
    for got, want in zip(gradients if isinstance(gradients, tuple) else (gradients,), right, strict=True):
        assert got.shape == case.shape
        close(got, want, scale * (1 + grad.double().abs()), 2e-6)  # of gelu at -5.3; see the budgets


@settings(max_examples=60)
@given(drawn(), st.booleans())
def test_out_takes_the_result_and_nothing_beside_it_changes(case: Drawn, high: bool) -> None:
    inputs, function = case.inputs(), FUNCTIONS[case.name]
    accuracy = "high" if high else "default"
    memory, out = case.out.empty(case.shape, case.dtype)
    with using(case.path):
        want = function(*(x.contiguous() for x in inputs), accuracy=accuracy)
        assert function(*inputs, accuracy=accuracy, out=out) is out
    assert torch.equal(out, want)
    out.fill_(77.0)
    assert bool((memory == 77.0).all()), "written beside the view"


@settings(max_examples=60)
@given(drawn(), st.integers(0, 1), st.integers(1, 40))
def test_out_may_be_an_input_and_must_not_overlap_one_otherwise(case: Drawn, which: int, shift: int) -> None:
    function = FUNCTIONS[case.name]
    plain = tuple(View(**{**vars(view), "repeated": None}) for view in case.views)
    inputs = Drawn(**{**vars(case), "views": plain}).inputs()
    target = inputs[which % len(inputs)]
    with using(case.path):
        want = function(*(x.clone() for x in inputs))
        function(*inputs, out=target)
        assert torch.equal(target, want)
        count = max(target.numel(), 1) + 1
        memory = torch.zeros(2 * count, dtype=case.dtype)
        x, other = memory[:count], memory[min(shift, count - 1) :][:count]
        rest = (torch.ones_like(x),) * (len(inputs) - 1)
        with pytest.raises(GatewiseError, match="overlap"):
            function(x, *rest, out=other)
    assert bool((memory == 0).all())
