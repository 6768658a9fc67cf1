"""Products by panels: sound between guard pages, right through torch, and the block that takes them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_kernels_fuzz import every_path, rounds_are_sound
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import gatewise
from gatewise import activations, kernels
from gatewise.kernels import _block_route, _choice, _panels, _products
from gatewise.kernels._observed import paths, using
from gatewise.kernels._operators import register

pytestmark = pytest.mark.skipif(kernels.status().path is None, reason="the native kernels are absent")
register()
NAMES = tuple(register())
GATES = tuple(name for name, gate in register().items() if gate)
DTYPES = (torch.float32, torch.bfloat16)
ROUNDS = 400
SIZES = [(1, 1, 1, 1), (3, 385, 77, 5), (70, 33, 100, 48), (71, 16, 32, 31), (200, 40, 17, 90), (5, 600, 20, 3)]
"""Rows, inputs, hidden numbers, outputs."""
EMPTY = [(0, 5, 4, 3), (4, 0, 4, 3), (2, 5, 0, 3), (2, 5, 4, 0)]
LARGE_PAGE = 2**21
NEAR = {torch.float32: 2e-6, torch.bfloat16: 6e-3}
"""Relative to the norm of what is summed."""


@every_path
def test_random_products_by_panels_are_their_sums_and_touch_nothing_else(path: str, tmp_path: Path) -> None:
    rounds_are_sound(tmp_path, "rounds", path, ROUNDS, script="kernel_panels.py")


def numbers(*size: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def parts_of(name: str, size: tuple[int, ...], dtype: torch.dtype, *, bias: bool) -> tuple[Tensor, list[Any]]:
    """x; and first weights and biases, the last and its own."""
    rows, cols, hidden, outputs = size
    shapes = [(hidden, cols)] * (2 if name in GATES else 1) + [(outputs, hidden)]
    found: list[Any] = []
    for seed, shape in enumerate(shapes, 1):
        weight = numbers(*shape, seed=seed, dtype=dtype) / max(1, shape[1]) ** 0.5
        found += [weight, numbers(shape[0], seed=seed + 9, dtype=dtype) if bias else None]
    return numbers(rows, cols, dtype=dtype), found


def block(name: str, x: Tensor, parts: list[Any], *, high: bool = False) -> Tensor:
    op: Any = torch.ops.gatewise.panel_block
    *first, down, down_bias = parts
    if name in GATES:
        gate, gate_bias, up, up_bias = first
        panels = _panels.panels_of_gate(gate, up, gate_bias, up_bias)
    else:
        panels = _panels.panels(*first)
    outputs, hidden = down.shape
    return op(x, panels, _panels.panels(down, down_bias), hidden, outputs, NAMES.index(name), high)


def exact(name: str, x: Tensor, parts: list[Any]) -> tuple[Tensor, Tensor]:
    """The block in float64, and the size of what its last sums are of."""
    *wide, down, bias = [None if each is None else each.double() for each in parts]
    inputs = [torch.nn.functional.linear(x.double(), w, b) for w, b in zip(wide[::2], wide[1::2], strict=True)]
    hidden = activations.get(name).torch(*inputs)
    assert down is not None
    size = hidden.abs() @ down.abs().T + (0 if bias is None else bias.abs())
    return torch.nn.functional.linear(hidden, down, bias), size


def far(found: Tensor, wanted: Tensor, size: Tensor | None = None) -> float:
    by = wanted if size is None else size
    return float((found.double() - wanted).norm() / by.norm().clamp_min(1e-30)) if wanted.numel() else 0.0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", paths())
def test_the_block_is_right_to_rounding(path: str, name: str, dtype: torch.dtype) -> None:
    with using(path):
        if not _panels.available(dtype):
            pytest.skip(f"no panels of {dtype} with {path}")
        for size in (*SIZES, *EMPTY):
            for bias in (False, True):
                x, parts = parts_of(name, size, dtype, bias=bias)
                for high in (False, True):
                    got = block(name, x, parts, high=high)
                    assert got.shape == (size[0], size[-1])
                    assert got.dtype is dtype
                    assert far(got, *exact(name, x, parts)) < NEAR[dtype], (size, bias, high)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["gelu", "swiglu"])
def test_rows_beside_layouts_and_threads_change_no_bit(name: str, dtype: torch.dtype) -> None:
    if not _panels.available(dtype):
        pytest.skip(f"no panels of {dtype} here")
    x, parts = parts_of(name, (301, 75, 99, 66), dtype, bias=True)
    right = block(name, x, parts)
    for n in (1, 2, 13, 14, 15, 32, 70, 71, 300):
        assert torch.equal(block(name, x[:n], parts), right[:n]), n
        assert torch.equal(block(name, x[n:], parts), right[n:]), n
    assert torch.equal(block(name, x.T.contiguous().T, parts), right)
    assert torch.equal(block(name, torch.cat([x, x], 1)[:, 75:], parts), right)
    turned = [each if each is None or each.ndim == 1 else each.T.contiguous().T for each in parts]
    assert torch.equal(block(name, x, turned), right)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(block(name, x, parts), right)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["gelu", "swiglu"])
def test_large_panels_begin_where_a_large_page_may(name: str, dtype: torch.dtype) -> None:
    if not _panels.available(dtype):
        pytest.skip(f"no panels of {dtype} here")
    x, parts = parts_of(name, (17, 1100, 1000, 900), dtype, bias=True)
    assert far(block(name, x, parts), *exact(name, x, parts)) < NEAR[dtype]
    large = _panels.panels(parts[0])
    assert large.nbytes > LARGE_PAGE
    assert large.data_ptr() % LARGE_PAGE == 0
    assert large.is_contiguous()
    assert large.untyped_storage().nbytes() <= large.nbytes + LARGE_PAGE
    small = _panels.panels(parts[0][:100])
    assert small.untyped_storage().nbytes() == small.nbytes < LARGE_PAGE
    assert torch.equal(large[:3], small[:3])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("path", paths())
def test_nan_and_infinity_stay_in_their_rows(path: str, dtype: torch.dtype) -> None:
    with using(path):
        if not _panels.available(dtype):
            pytest.skip(f"no panels of {dtype} with {path}")
        x, parts = parts_of("swiglu", (40, 33, 17, 9), dtype, bias=True)
        right = block("swiglu", x, parts)
        other = x.clone()
        other[7, 3], other[39, 32] = torch.nan, torch.inf
        got = block("swiglu", other, parts)
        kept = [i for i in range(40) if i not in (7, 39)]
        assert torch.equal(got[kept], right[kept])
        assert bool(got[7].isnan().all())
        # A row of infinite activations gives infinite outputs: what makes up a tile of hidden numbers adds nothing.
        ones = [torch.ones_like(parts[0]), None, torch.ones_like(parts[-2]), None]
        got = block("gelu", torch.full_like(x, torch.inf), ones)
        assert bool((got == torch.inf).all())


def test_fake_tensors_and_the_operators_own_checks() -> None:
    x, parts = parts_of("swiglu", (9, 8, 7, 6), torch.float32, bias=True)
    first, down = _panels.panels_of_gate(parts[0], parts[2], parts[1], parts[3]), _panels.panels(*parts[-2:])
    op: Any = torch.ops.gatewise.panel_block.default
    arguments = (x, first, down, 7, 6, NAMES.index("swiglu"))
    results = torch.library.opcheck(op, arguments, {"high": True})
    assert set(results.values()) == {"SUCCESS"}
    with FakeTensorMode() as mode:
        fake = op(*[mode.from_tensor(each) if isinstance(each, Tensor) else each for each in arguments])
    assert fake.shape == (9, 6)


def test_tensors_on_two_devices_are_refused() -> None:
    x, parts = parts_of("gelu", (9, 8, 7, 6), torch.float32, bias=False)
    first, down = _panels.panels(parts[0]), _panels.panels(parts[2])
    assert "tensors on cpu, meta and cpu" in refused(x, first.to("meta"), down, 7, 6, NAMES.index("gelu"))


def refused(*arguments: Any, op: str = "panel_block") -> str:
    with pytest.raises(RuntimeError) as caught:
        getattr(torch.ops.gatewise, op)(*arguments)
    return str(caught.value).splitlines()[0]


def test_bad_input_is_told_in_a_line() -> None:
    x, parts = parts_of("gelu", (9, 8, 7, 6), torch.float32, bias=False)
    first, down, gelu = _panels.panels(parts[0]), _panels.panels(parts[2]), NAMES.index("gelu")
    none = torch.empty(0)
    assert "are not those of 9 inputs and 7 outputs here" in refused(torch.ones(2, 9), first, down, 7, 6, gelu)
    assert "are not those of 5 inputs and 6 outputs here" in refused(x, first, down, 5, 6, gelu)
    assert "are not those of 7 inputs and 600 outputs here" in refused(x, first, down, 7, 600, gelu)
    assert "are not those of 7 inputs and -1 outputs here" in refused(x, first, down, 7, -1, gelu)
    assert "no function at place 99" in refused(x, first, down, 7, 6, 99)
    assert "2 dimensions expected, got (8)" in refused(x[0], first, down, 7, 6, gelu)
    assert "the dtypes of the tensors differ" in refused(x, first.double(), down, 7, 6, gelu)
    assert "tensors of float32 expected" in refused(x.double(), first, down, 7, 6, gelu)
    assert "shapes (7, 8) and (6) do not match" in refused(parts[0], torch.ones(6), op="panels")
    assert "shapes (7, 8) and (6, 7) do not match" in refused(parts[0], none, parts[2], none, op="panels_of_gate")
    for path in paths():
        with using(path):
            if _panels.panels(parts[0]).shape != first.shape:
                assert "are not those of" in refused(x, first, down, 7, 6, gelu), "made for another instruction set"


def test_the_block_says_why_it_does_without() -> None:
    x = numbers(20, 12)
    with torch.no_grad():
        for activation, dtype, way in (
            ("swiglu", torch.float32, "panels"),
            ("relu", torch.float32, "blocked"),
            ("swiglu", torch.bfloat16, "panels" if _panels.available(torch.bfloat16) else "blocked"),
        ):
            ours = gatewise.FeedForward(12, 19, activation, path="panels").to(dtype)
            stock = activations.FeedForward.forward(copy.deepcopy(ours), x.to(dtype))
            assert far(ours(x.to(dtype)), stock.double()) < (1e-6 if dtype is torch.float32 else 2e-2)
            assert ours.path_of(x.to(dtype)).startswith(f"{way}: path='panels'")
            assert (ours.packed_bytes > 0) is (way == "panels")


@pytest.mark.parametrize("way", ["panels", "packed"])
def test_what_one_block_cannot_have_is_not_remembered_for_others(way: str) -> None:
    if way == "packed" and not _products.packable():
        pytest.skip("oneDNN packs nothing here")
    x = numbers(20, 12)
    with torch.inference_mode():
        gatewise.FeedForward(12, 23, path=way)(x)
    ours = gatewise.FeedForward(12, 23, path=way)
    with torch.no_grad():
        ours(x)
    assert ours.packed_bytes > 0


def test_sizes_beyond_all_memory_are_refused() -> None:
    op: Any = torch.ops.gatewise.panel_block
    with pytest.raises(RuntimeError, match="are not those of"):
        op(torch.ones(2, 8), torch.empty(0, 288), torch.empty(1, 0), 2**63 - 1, 1, NAMES.index("swiglu"))


def test_a_choice_leaves_no_copies_of_the_ways_that_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = gatewise.FeedForward(48, 64).eval()
    x = numbers(70, 48)
    seen: list[int] = []
    answers = iter(["blocked", "panels"])

    def choose(question: str, key: object, candidates: dict[str, Callable[[], object]], prices: object = None) -> str:
        if question.startswith("linear"):
            return "torch"
        for call in candidates.values():
            call()
        seen.append(ours.packed_bytes)
        return next(answers)

    monkeypatch.setattr(_block_route, "SMALL", 0)
    monkeypatch.setattr(_choice, "known", lambda *_: None)
    monkeypatch.setattr(_choice, "recall", lambda *_: None)
    monkeypatch.setattr(_choice, "choose", choose)
    weights = sum(each.nbytes for each in ours.parameters())
    with torch.no_grad():
        for least, most in ((0, 0), (weights, 2 * weights)):
            ours(x)
            assert least <= ours.packed_bytes <= most
    assert all(each > weights for each in seen)
