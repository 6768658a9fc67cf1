"""float32 products of three bfloat16 parts: sound between guard pages, near the exact ones, torch where parts fail."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from test_kernels_fuzz import guarded, rounds_are_sound
from torch import Tensor

import gatewise
from gatewise import activations
from gatewise.kernels import _choice, _panels, _products, _split
from gatewise.kernels._observed import using
from gatewise.kernels._operators import register

pytestmark = pytest.mark.skipif(_split.missing() is not None, reason="no products in parts here")
if _split.missing() is None:
    register()
ROUNDS = 300
SIZES = [(1, 1, 1), (31, 33, 32), (2048, 96, 40), (70, 2100, 65), (64, 768, 257), (300, 769, 33)]
"""Rows, what is summed over, outputs; the third and fourth of more than one part of it."""
EMPTY = [(0, 5, 4), (4, 0, 3), (4, 5, 0)]


def numbers(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def split_product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    op: Any = torch.ops.gatewise.split_product
    return op(a, b, torch.empty(0) if bias is None else bias)


def error(found: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """From the exact product, of the size of what is summed."""
    return (found - a.double() @ b.double()) / (a.double().abs() @ b.double().abs()).clamp_min(1e-300)


def test_random_products_and_gradients_touch_nothing_else(tmp_path: Path) -> None:
    rounds_are_sound(tmp_path, "rounds", "avx512", ROUNDS, script="kernel_split.py")


@pytest.mark.parametrize("kind", ["read", "write"])
def test_one_number_too_many_ends_the_process(kind: str, tmp_path: Path) -> None:
    code, said = guarded(tmp_path, "overrun", "avx512", kind, script="kernel_split.py")
    assert code < 0, said
    assert said.endswith(f"at: overrun {kind}")


@pytest.mark.parametrize("turned", range(4))
@pytest.mark.parametrize("size", SIZES)
def test_it_is_nearer_to_the_exact_product_than_torchs(size: tuple[int, ...], turned: int) -> None:
    rows, cols, outputs = size
    a, b = numbers(rows, cols, seed=1), numbers(cols, outputs, seed=2)
    a, b = a.T.contiguous().T if turned & 1 else a, b.T.contiguous().T if turned & 2 else b
    ours, torchs = error(split_product(a, b), a, b), error(a @ b, a, b)
    assert float(ours.abs().max()) <= 2.0**-21
    if a.numel() * b.numel() > 1e6:  # so many sums that chance is out of it
        assert float(ours.square().mean()) < float(torchs.square().mean())


def test_three_parts_hold_every_number() -> None:
    """By a matrix that only picks, every product is the number itself, to the bit."""
    generator = torch.Generator().manual_seed(3)
    bits = torch.randint(0, 2**23, (999, 64), generator=generator, dtype=torch.int32)
    exponents = torch.randint(127 - 60, 127 + 50, (999, 64), generator=generator, dtype=torch.int32)
    signs = torch.randint(0, 2, (999, 64), generator=generator, dtype=torch.int32)
    x = (bits | (exponents << 23) | (signs << 31)).view(torch.float32)
    assert torch.equal(split_product(x, torch.eye(64)), x)
    assert torch.equal(split_product(torch.eye(64), x[:64]), x[:64])


def test_a_bias_is_added_and_sums_of_two_products_are_one() -> None:
    a, b, bias = numbers(70, 50), numbers(50, 33, seed=1), numbers(33, seed=2)
    assert torch.allclose(split_product(a, b, bias), torch.addmm(bias, a, b), rtol=1e-5, atol=1e-5)
    c, d, out = numbers(70, 20, seed=3), numbers(20, 33, seed=4), torch.full((70, 33), torch.nan)
    assert _split.total(a, b, c, d, out) is out
    assert torch.allclose(out, a @ b + c @ d, rtol=1e-5, atol=1e-5)
    by_a, by_c = _split.by_weights(a, numbers(70, 50, seed=5), c)
    assert torch.equal(by_a, split_product(a.T, c))
    assert torch.equal(by_c, split_product(numbers(70, 50, seed=5).T, c))


@pytest.mark.parametrize("size", EMPTY)
def test_nothing_to_multiply(size: tuple[int, ...]) -> None:
    rows, cols, outputs = size
    a, b, bias = numbers(rows, cols), numbers(cols, outputs), numbers(outputs)
    assert torch.equal(split_product(a, b, bias), torch.addmm(bias, a, b))
    assert torch.equal(split_product(a, b), a @ b)


def test_threads_and_rows_beside_change_no_bit() -> None:
    a, b = numbers(301, 900), numbers(900, 66, seed=1)
    right, before = split_product(a, b), torch.get_num_threads()
    for n in (1, 2, 31, 32, 33, 300):
        assert torch.equal(split_product(a[:n], b), right[:n])
        assert torch.equal(split_product(a[n:], b), right[n:])
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(split_product(a, b), right)
    finally:
        torch.set_num_threads(before)


def of_many_sizes(*size: int, seed: int) -> Tensor:
    return torch.exp(3 * numbers(*size, seed=seed)) * numbers(*size, seed=seed + 9).sign()


OTHERS = {  # and how many times torch's error may be ours, as a root mean square
    "positive": (lambda *size, seed: numbers(*size, seed=seed).abs(), 1.0),
    "of many sizes": (of_many_sizes, 1.0),
    "near one": (lambda *size, seed: 1 + 2.0**-20 * numbers(*size, seed=seed), 1.05),  # the last rounding is all of it
    "sparse": (lambda *size, seed: numbers(*size, seed=seed) * (numbers(*size, seed=seed + 9) > 1.65), 1.8),
    "rows of sizes": (lambda *size, seed: numbers(*size, seed=seed) * torch.logspace(-9, 9, size[0])[:, None], 1.8),
    "whole": (lambda *size, seed: (99 * numbers(*size, seed=seed)).round(), 0.0),
}


@pytest.mark.parametrize("inner", [64, 768, 4096])
@pytest.mark.parametrize("name", OTHERS)
def test_numbers_that_are_not_normally_distributed(name: str, inner: int) -> None:
    """Where few products make up a sum, six are rounded in place of one; sums of whole numbers are exact."""
    make, times = OTHERS[name]
    a, b = make(256, inner, seed=1), make(inner, 256, seed=2)
    ours, torchs = (error(each, a, b).square().mean().sqrt() for each in (split_product(a, b), a @ b))
    assert float(ours) <= times * float(torchs)


def test_only_what_parts_cannot_do_goes_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(_split, "_operator", lambda name: fails)
    a, inputs = numbers(9, 5), [numbers(9, 7), numbers(9, 7)]
    for call in (
        lambda: _split.product(a, a.T),
        lambda: _split.total(a, a.T, a, a.T, torch.ones(9, 9)),
        lambda: _split.by_weights(a, a, a),
        lambda: _split.forward(a, (a, a), (None, None), a, None, function=0, high=False),
        lambda: _split.slopes(a, numbers(5, 7), inputs, function=0, high=False),
    ):
        with pytest.raises(RuntimeError, match="not enough memory"):
            call()


HARD = {
    "infinity": lambda x: x.index_put_((torch.tensor(3), torch.tensor(4)), torch.tensor(torch.inf)),
    "nan": lambda x: x.index_put_((torch.tensor(3), torch.tensor(4)), torch.tensor(torch.nan)),
    "huge": lambda x: x.mul_(1e30),
    "tiny": lambda x: x.mul_(1e-30),
    "subnormal": lambda x: x.mul_(1e-42),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("which", [0, 1])
def test_numbers_that_parts_do_not_hold_are_refused_and_multiplied_by_torch(name: str, which: int) -> None:
    factors = [numbers(40, 50), numbers(50, 33, seed=1)]
    HARD[name](factors[which])
    a, b = factors
    with pytest.raises(RuntimeError, match="gatewise::split_product: no product in parts: numbers that"):
        split_product(a, b)
    bias, out = numbers(33, seed=2), torch.zeros(40, 33)
    for found, want in (
        (_split.product(a, b), a @ b),
        (_split.product(a, b, bias), torch.addmm(bias, a, b)),
        (_split.product(a, b, out=out), a @ b),
        (_split.total(a, b, a, b, torch.ones(40, 33)), torch.mm(a, b).addmm_(a, b)),
        (_split.by_weights(a, a, numbers(40, 7))[1], a.T @ numbers(40, 7)),
    ):
        assert torch.allclose(found, want, rtol=1e-4, atol=0, equal_nan=True)


def test_zeros_and_a_row_of_small_numbers_are_in_range() -> None:
    a, b = numbers(40, 50), numbers(50, 33, seed=1)
    assert torch.equal(split_product(torch.zeros_like(a), b), torch.zeros(40, 33))
    assert torch.equal(split_product(a, torch.zeros_like(b)), torch.zeros(40, 33))
    a[7] *= 1e-12
    assert float(error(split_product(a, b), a, b)[7].abs().max()) < 2.0**-21


def test_bad_input_is_told_in_a_line() -> None:
    ops: Any = torch.ops.gatewise
    a, none = torch.ones(4, 5), torch.empty(0, 0)
    for message, op, *arguments in (
        ("shapes (4, 5) and (4, 5) do not match", ops.split_product, a, a, torch.empty(0)),
        ("shapes (5, 4) and (3) do not match", ops.split_product, a, a.T, torch.ones(3)),
        ("2 dimensions expected, got (5)", ops.split_product, a, a[0], torch.empty(0)),
        ("tensors of float32 expected", ops.split_product, a.double(), a.T, torch.empty(0)),
        ("tensors of float32 expected", ops.split_panels, a.bfloat16(), torch.empty(0).bfloat16()),
        ("the dtypes of the tensors differ", ops.split_product, a, a.T.double(), torch.empty(0)),
        ("out (4, 4) has to lie row by row", ops.split_product_out, a, a.T, none, none, torch.ones(4, 4).T),
        ("shapes (4, 5) and (3, 4) do not match", ops.split_product_out, a, a.T, none, none, torch.ones(3, 4)),
        ("no function at place 99", ops.split_slopes, a, torch.ones(5, 6), torch.ones(4, 6), none, 99, False),
        (
            "projections have to be contiguous",
            ops.split_slopes,
            a,
            torch.ones(5, 4),
            torch.ones(4, 4).T,
            none,
            0,
            False,
        ),
    ):
        with pytest.raises(RuntimeError) as caught:
            op(*arguments)
        assert message in str(caught.value).splitlines()[0]


def test_a_gradient_that_is_no_number_leaves_the_projections_as_they_are() -> None:
    grad, down, inputs = numbers(9, 5), numbers(5, 7, seed=1), [numbers(9, 7, seed=2), numbers(9, 7, seed=3)]
    grad[2, 3] = torch.nan
    before = [each.clone() for each in inputs]
    place = tuple(register()).index("swiglu")
    assert _split.slopes(grad, down, inputs, function=place, high=False) is None
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))


def step(block: activations.FeedForward, x: Tensor, grad: Tensor) -> list[Tensor]:
    leaf = x.clone().requires_grad_()
    out = block(leaf)
    return [out.detach(), *torch.autograd.grad(out, [leaf, *block.parameters()], grad)]


@pytest.mark.parametrize("activation", ["swiglu", "gelu", "swiglu_clamped", "relu"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_training_step_in_parts_is_as_near_as_torchs(activation: str, *, bias: bool) -> None:
    torch.manual_seed(0)
    stock = activations.FeedForward(96, 200, activation, bias=bias)
    ours = gatewise.FeedForward.of(stock, path="save")
    x, grad = numbers(300, 96), numbers(300, 96, seed=1)
    exact = step(copy.deepcopy(stock).double(), x.double(), grad.double())
    with _choice.forced(linear="split"):
        found = step(ours, x, grad)
    for one, other, want in zip(found, step(stock, x, grad), exact, strict=True):
        assert float((one - want).norm()) <= 1.2 * float((other - want).norm()) + 1e-30


@pytest.mark.parametrize("what", ["x", "grad", "weight"])
def test_a_training_step_of_numbers_that_are_none_is_torchs(what: str) -> None:
    torch.manual_seed(0)
    stock = activations.FeedForward(24, 40, "swiglu")
    x, grad = numbers(70, 24), numbers(70, 24, seed=1)
    with torch.no_grad():
        {"x": x, "grad": grad, "weight": stock.down.weight}[what][3, 4] = torch.inf
    ours = gatewise.FeedForward.of(stock, path="save")
    found: dict[str, list[Tensor]] = {}
    for way in ("split", "torch"):
        _choice.forget()
        with _choice.forced(linear=way):
            found[way] = step(ours, x, grad)
    for one, want in zip(found["split"], found["torch"], strict=True):
        assert torch.allclose(one, want, rtol=1e-3, atol=1e-5, equal_nan=True)


def test_the_whole_block_is_one_operator_only_where_all_is_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for name in ("forward", "slopes"):
        real = getattr(_split, name)
        monkeypatch.setattr(_split, name, lambda *a, name=name, real=real, **k: taken.append(name) or real(*a, **k))
    ours = gatewise.FeedForward(24, 40, "swiglu", path="save")
    x, grad = numbers(70, 24), numbers(70, 24)
    for ways, expected in (
        ({"linear": "split"}, ["forward", "slopes"]),
        ({"linear": "torch"}, []),
        ({"linear": "split", "linear.by_input": "torch"}, ["forward"]),
        ({"linear": "split", "linear.forward": "torch"}, ["slopes"]),
    ):
        taken.clear()
        _choice.forget()
        with _choice.forced(ways):
            step(ours, x, grad)
        assert taken == expected, ways
    monkeypatch.setattr(_split, "MOST_NUMBERS", 24 * 40)
    taken.clear()
    with _choice.forced(linear="split"):
        step(ours, x, grad)
    assert taken == []


def test_at_inference_weights_are_kept_in_parts_and_renewed() -> None:
    torch.manual_seed(0)
    stock = activations.FeedForward(48, 100, "swiglu", bias=True)
    ours, x = gatewise.FeedForward.of(stock, path="split"), numbers(70, 48)
    exact = copy.deepcopy(stock).double()(x.double())
    with torch.no_grad():
        assert ours.path_of(x) == "split: path='split'"
        found = ours(x)
        assert float((found - exact).norm()) <= 1.2 * float((stock(x) - exact).norm())
        weights = sum(each.nbytes for each in ours.parameters())
        assert 1.5 * weights <= ours.packed_bytes < 4 * weights  # what makes up tiles included
        ours.down.weight.mul_(2)
        assert torch.allclose(ours(x), stock(x), rtol=1e-4, atol=1e-5)
        x[3, 4] = torch.inf
        assert torch.allclose(ours(x), stock(x), rtol=1e-4, atol=1e-5, equal_nan=True)
        ours.down.weight[2, 3] = torch.nan
        assert torch.allclose(ours(x), stock(x), rtol=1e-4, atol=1e-5, equal_nan=True)


def test_without_tiles_a_named_way_is_torchs_or_another() -> None:
    x, ours = numbers(70, 48), gatewise.FeedForward(48, 64, path="split")
    with using("avx2"), torch.no_grad():
        assert not _panels.available(torch.float32, split=True)
        assert ours.path_of(x).startswith("blocked: path='split', which needs")
        with pytest.raises(RuntimeError, match="no product in parts: the processor has no AMX"):
            split_product(x, x.T)
        assert torch.equal(_split.product(x, x.T), x @ x.T)
    _choice.forget()


def test_a_product_by_hand_is_checked() -> None:
    a, weight = numbers(40, 50), numbers(33, 50, seed=1)
    assert torch.equal(_products.forward(a, weight, None, "split"), split_product(a, weight.T))
    with pytest.raises(gatewise.core.GatewiseError, match=r"forward: split does not multiply torch\.bfloat16"):
        _products.forward(a.bfloat16(), weight.bfloat16(), None, "split")


def test_blocks_of_rows_are_put_together() -> None:
    """More rows than a block of a training step has."""
    torch.manual_seed(0)
    stock = activations.FeedForward(16, 24, "swiglu")
    x, grad = numbers(4500, 16), numbers(4500, 16, seed=1)
    exact = step(copy.deepcopy(stock).double(), x.double(), grad.double())
    with _choice.forced(linear="split"):
        for path in ("save", "recompute"):
            for one, want in zip(step(gatewise.FeedForward.of(stock, path=path), x, grad), exact, strict=True):
                assert float((one - want).norm() / want.norm()) < 1e-6
