"""A feed-forward block by each of its ways, against the stock block in float64; and what it keeps in memory."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from live_bytes import LiveBytes, peak_bytes
from torch import Tensor

from gatewise import activations
from gatewise.kernels import _block_candidates as ways
from gatewise.kernels import _products, _split
from gatewise.kernels._blocked import Recipe, Weights, blocks, evaluate, gradients
from gatewise.kernels._choice import forced
from gatewise.kernels._feedforward import FeedForward

TRAINING = ("save", "recompute")
INFERENCE = ("panels", "split", "packed", "blocked")
# Errors relative to the norm: a unit roundoff times the square root of the longest sum leaves room for each.
NEAR = {torch.float32: 1e-6, torch.bfloat16: 1e-2}


@pytest.fixture(autouse=True, params=(*_products.available(), _products.TURNED))
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(ways, "ROWS", 64)
    monkeypatch.setattr(ways, "MOST_TIMES", 1)
    turned = {"linear": "onednn", "linear.by_weight": "turned"}
    if request.param == _products.TURNED and len(_products.available(torch.bfloat16)) == 1:
        pytest.skip("oneDNN does not multiply bfloat16 here")
    with forced(turned if request.param == _products.TURNED else {"linear": request.param}):
        yield request.param


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def made(activation: str, *, bias: bool = True, dim: int = 24, hidden: int = 37) -> activations.FeedForward:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return activations.FeedForward(dim, hidden, activation, bias=bias)


def far(found: Tensor, wanted: Tensor) -> float:
    return float((found.detach().double() - wanted).norm() / wanted.norm().clamp_min(1e-30))


def in_double(block: activations.FeedForward, x: Tensor, grad: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    reference = copy.deepcopy(block).double()
    x = x.double().requires_grad_()
    out = reference(x)
    return out.detach(), torch.autograd.grad(out, [x, *reference.parameters()], grad.double())


@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ["swiglu", "swiglu_clamped", "geglu", "reglu", "gelu", "relu", "mish"])
def test_values_and_gradients_are_those_of_float64(activation: str, bias: bool, dtype: torch.dtype) -> None:
    block = made(activation, bias=bias).to(dtype)
    x, grad = random(3, 50, 24, dtype=dtype), random(3, 50, 24, seed=2, dtype=dtype)
    value, slopes = in_double(block, x, grad)
    near = NEAR[dtype] * (8 if activation in ("relu", "reglu") and dtype is torch.bfloat16 else 1)  # kinks that move
    for way in INFERENCE:
        with torch.no_grad():
            assert far(FeedForward.of(block, path=way)(x), value) < near
    for way in TRAINING:
        ours = FeedForward.of(block, path=way)
        leaf = x.clone().requires_grad_()
        out = ours(leaf)
        assert far(out, value) < near
        found = torch.autograd.grad(out, [leaf, *ours.parameters()], grad)
        assert [each.dtype for each in found] == [dtype] * len(slopes)
        assert max(far(each, slope) for each, slope in zip(found, slopes, strict=True)) < near


@pytest.mark.parametrize("way", TRAINING)
def test_float32_gradients_are_as_near_as_torchs(way: str) -> None:
    block, x, grad = made("swiglu"), random(900, 24), random(900, 24, seed=2)
    _, slopes = in_double(block, x, grad)

    def worst(each: activations.FeedForward) -> float:
        leaf = x.clone().requires_grad_()
        found = torch.autograd.grad(each(leaf), [leaf, *each.parameters()], grad)
        return max(far(one, slope) for one, slope in zip(found, slopes, strict=True))

    assert worst(FeedForward.of(block, path=way)) < 2 * worst(block)


@pytest.mark.parametrize("way", TRAINING)
def test_bfloat16_sums_over_many_blocks_are_rounded_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "ROWS", 8)
    block = made("swiglu").bfloat16()
    x, grad = random(2000, 24, dtype=torch.bfloat16).abs(), random(2000, 24, seed=2, dtype=torch.bfloat16).abs()
    _, slopes = in_double(block, x, grad)
    ours = FeedForward.of(block, path=way)
    found = torch.autograd.grad(ours(x), list(ours.parameters()), grad)
    # 250 parts added in bfloat16 would be off by a tenth: each step loses up to half of 2^-8 of the sum.
    assert max(far(one, slope) for one, slope in zip(found, slopes[1:], strict=True)) < 0.01


@pytest.mark.parametrize("rows", [70, 600])  # two blocks, and so many that their products are summed first
def test_the_way_that_is_forced_computes_the_gradients_by_the_weights(
    rows: int, product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if product not in (*_products.available(torch.bfloat16), _products.TURNED):
        pytest.skip(f"{product} is for float32")
    asked: list[str] = []
    for name, way in _products.BY_WEIGHT.items():
        noted = lambda *inputs, name=name, way=way: asked.append(name) or way(*inputs)  # noqa: E731
        monkeypatch.setitem(_products.BY_WEIGHT, name, noted)
    turned = _products.by_weight_turned
    monkeypatch.setattr(_products, "by_weight_turned", lambda *inputs: asked.append("turned") or turned(*inputs))
    ours = FeedForward.of(made("swiglu").bfloat16(), path="save")
    torch.autograd.grad(ours(random(rows, 24, dtype=torch.bfloat16)).sum(), list(ours.parameters()))
    assert len(asked) >= 6
    assert set(asked) == {product}


@pytest.mark.parametrize("way", TRAINING)
def test_gradients_that_nobody_asked_for_are_not_made(way: str) -> None:
    block = made("swiglu")
    ours = FeedForward.of(block, path=way)
    x, grad = random(70, 24), random(70, 24, seed=2)
    _, slopes = in_double(block, x, grad)
    names = ["x", *(name for name, _ in block.named_parameters())]
    wanted = dict(zip(names, slopes, strict=True))
    for alone in names:
        for name, parameter in ours.named_parameters():
            parameter.requires_grad_(name == alone)
            parameter.grad = None
        leaf = x.clone().requires_grad_(alone == "x")
        ours(leaf).backward(grad)
        found = {"x": leaf.grad, **{name: each.grad for name, each in ours.named_parameters()}}
        assert [name for name, each in found.items() if each is not None] == [alone]
        assert far(found[alone], wanted[alone]) < NEAR[torch.float32]  # pyright: ignore


@pytest.mark.parametrize("way", TRAINING)
@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_second_derivatives(way: str, activation: str) -> None:
    block = made(activation, dim=3, hidden=5)
    x = random(4, 3).requires_grad_()
    reference = copy.deepcopy(block).double()
    ours = FeedForward.of(block, path=way)

    def twice(each: activations.FeedForward, x: Tensor) -> tuple[Tensor, ...]:
        inputs = [x, *each.parameters()]
        first = torch.autograd.grad(each(x).square().sum(), inputs, create_graph=True)
        return torch.autograd.grad(torch.stack([one.square().sum() for one in first]).sum(), inputs)

    wanted = twice(reference, x.detach().double().requires_grad_())
    for found, want in zip(twice(ours, x), wanted, strict=True):
        assert far(found, want) < 1e-5


@pytest.mark.parametrize("way", TRAINING)
def test_a_graph_may_be_gone_through_twice(way: str) -> None:
    ours = FeedForward.of(made("swiglu"), path=way)
    out = ours(random(70, 24)).square().sum()
    first = torch.autograd.grad(out, list(ours.parameters()), retain_graph=True)
    again = torch.autograd.grad(out, list(ours.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("way", TRAINING)
def test_a_backward_pass_that_failed_may_be_tried_again(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "ROWS", 16)
    ours = FeedForward.of(made("swiglu"), path=way)
    out = ours(random(70, 24)).square().sum()
    wanted = torch.autograd.grad(ours(random(70, 24)).square().sum(), list(ours.parameters()))
    calls = 0

    slopes = _split.slopes

    def fails_once(*args: Any, **options: Any) -> Tensor | None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise MemoryError
        return slopes(*args, **options) if options else torch.mm(args[0], args[1])

    with monkeypatch.context() as patched:
        patched.setattr(_products, "BY_INPUT", dict.fromkeys(_products.BY_INPUT, fails_once))
        patched.setattr(_split, "slopes", fails_once)  # what makes them of products in parts
        with pytest.raises(MemoryError):
            torch.autograd.grad(out, list(ours.parameters()), retain_graph=True)
    found = torch.autograd.grad(out, list(ours.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("way", TRAINING)
def test_under_a_checkpoint_nothing_is_kept_beside_what_it_keeps(way: str) -> None:
    ours, grad = FeedForward.of(made("swiglu", dim=8, hidden=512), path=way), random(256, 8, seed=2)
    x = random(256, 8).requires_grad_()
    leaves = [x, *ours.parameters()]
    wanted = torch.autograd.grad(ours(x), leaves, grad)
    with LiveBytes() as mode:
        out = torch.utils.checkpoint.checkpoint(ours, x, use_reentrant=False)
        assert mode.live == out.nbytes
    found = torch.autograd.grad(out, leaves, grad)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("way", TRAINING)
def test_a_weight_changed_between_forward_and_backward_is_noticed(way: str) -> None:
    ours = FeedForward.of(made("swiglu"), path=way)
    out = ours(random(70, 24)).sum()
    with torch.no_grad():
        ours.down.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


@pytest.mark.parametrize("way", TRAINING)
def test_gradients_of_expanded_and_strided_tensors(way: str) -> None:
    block = made("swiglu")
    wide = random(24, 150)
    ours, leaf = FeedForward.of(block, path=way), wide.t().requires_grad_()
    reference = in_double(block, wide.t().contiguous(), torch.ones(150, 24))[1]
    found = torch.autograd.grad(ours(leaf).sum(), [leaf, *ours.parameters()])
    assert max(far(one, want) for one, want in zip(found, reference, strict=True)) < NEAR[torch.float32]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 700))
def test_blocks_cover_every_row_once_and_are_alike(num_rows: int, size: int) -> None:
    found = list(blocks(num_rows, size))
    assert [row for each in found for row in range(each.start, each.stop)] == list(range(num_rows))
    lengths = [each.stop - each.start for each in found]
    assert max(lengths) <= size
    assert len(lengths) == -(-num_rows // size)


def test_the_size_of_a_block_changes_only_rounding() -> None:
    block, x, grad = made("geglu"), random(333, 24), random(333, 24, seed=2)
    gate, up, down = block.unit.gate, block.unit.up, block.down
    held = Weights.of([gate.weight, up.weight, gate.bias, up.bias, down.weight, down.bias]).detached()
    value, slopes = in_double(block, x, grad)
    order = (0, 1, 3, 2, 4, 5, 6)  # x, gate, up, their biases, down: parameters come as gate, gate's bias, up, ...
    for rows in (1, 7, 64, 333, 5000):
        recipe = Recipe(activation="geglu", rows=rows)
        kept: dict[int, list[Tensor]] = {}
        assert far(evaluate(recipe, x, held, kept), value) < NEAR[torch.float32]
        found = gradients(recipe, grad, x, held, kept, [True] * 7)
        assert not kept  # used up
        for one, place in zip(found, order, strict=True):
            assert one is not None
            assert far(one, slopes[place]) < 3e-6


@pytest.mark.parametrize("dtype", NEAR, ids=str)
def test_the_same_input_gives_the_same_bits_whatever_was_called_before(dtype: torch.dtype) -> None:
    block = made("swiglu").to(dtype)
    x, other = random(130, 24, dtype=dtype), random(7, 24, seed=5, dtype=dtype)
    for way in INFERENCE:
        ours = FeedForward.of(block, path=way)
        with torch.no_grad():
            first = ours(x)
            ours(other)
            ours(x[:1])
            again = ours(x)
            ours.drop_packed()
            assert torch.equal(first, again)
            assert torch.equal(first, ours(x))
            assert torch.equal(first, FeedForward.of(block, path=way)(x))


def _training_peak(block: activations.FeedForward, x: Tensor) -> int:
    leaf, grad = x.clone().requires_grad_(), torch.ones_like(x)

    def step() -> object:
        out = block(leaf)
        return out, torch.autograd.grad(out, [leaf, *block.parameters()], grad)

    return peak_bytes(step)


def test_the_hidden_activation_is_never_whole_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "ROWS", 256)
    block = made("swiglu", bias=False, dim=48, hidden=256).bfloat16()
    x = random(4096, 48, dtype=torch.bfloat16)
    with torch.no_grad():
        stock = peak_bytes(lambda: block(x))
        for way in INFERENCE:
            ours = FeedForward.of(block, path=way)
            ours(x[:2])  # the weights are packed
            assert peak_bytes(lambda ours=ours: ours(x)) <= stock / 5


def test_training_keeps_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "ROWS", 256)
    block = made("swiglu", bias=False, dim=48, hidden=256).bfloat16()
    x = random(4096, 48, dtype=torch.bfloat16)
    stock = _training_peak(block, x)
    assert _training_peak(FeedForward.of(block, path="recompute"), x) <= stock / 3
    assert _training_peak(FeedForward.of(block, path="save"), x) <= stock / 2


def test_a_peak_is_that_of_live_tensors() -> None:
    def three_of_which_two_live() -> Tensor:
        one = torch.zeros(1000)
        two = one + 1
        del one
        return two * 2

    assert peak_bytes(three_of_which_two_live) == 8000
