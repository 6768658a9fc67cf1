"""Copies of weights that are kept between calls are left when the weights are others, however they became so."""

from collections.abc import Callable

import pytest
import torch
from test_kernels_block_quick import random
from torch import Tensor, nn

from gatewise import activations
from gatewise.kernels import _block_kept, _choice, _products
from gatewise.kernels._block_route import INFERENCE
from gatewise.kernels._feedforward import FeedForward
from gatewise.kernels._linear import Linear

pytestmark = pytest.mark.usefixtures("nothing_chosen")
DIM, HIDDEN = 32, 64


def made(way: str, dtype: torch.dtype = torch.float32) -> FeedForward:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return FeedForward(DIM, HIDDEN, "swiglu", bias=True, path=way).to(dtype).eval()


def same(block: FeedForward, x: Tensor) -> None:
    """Twice: the second call may take the short way."""
    near = 2e-5 if x.dtype is torch.float32 else 2e-2
    for _ in range(2):
        torch.testing.assert_close(block(x), activations.FeedForward.forward(block, x), rtol=near, atol=near)


def narrower(block: FeedForward) -> None:
    half = HIDDEN // 2
    for each in (block.unit.gate, block.unit.up):
        each.weight.data = each.weight.data[:half]
        each.bias.data = each.bias.data[:half]
    block.down.weight.data = block.down.weight.data[:, :half]


def fewer_outputs(block: FeedForward) -> None:
    block.down.weight.data = block.down.weight.data[: DIM // 2]
    block.down.bias.data = block.down.bias.data[: DIM // 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("change", [narrower, fewer_outputs], ids=lambda change: change.__name__)
@pytest.mark.parametrize("way", INFERENCE)
def test_weights_of_other_sizes_in_the_same_memory(
    way: str, change: Callable[[FeedForward], None], dtype: torch.dtype
) -> None:
    block, x = made(way, dtype), random(5, DIM).to(dtype)
    with torch.no_grad():
        same(block, x)
        change(block)
        same(block, x)


def test_a_linear_of_other_sizes_in_the_same_memory() -> None:
    stock = nn.Linear(24, 40)
    ours, x = Linear.of(stock).eval(), random(6, 24)
    forced = {"linear.inference": "packed"} if "onednn" in _products.available() else {}
    with torch.no_grad(), _choice.forced(forced):
        for rows in (40, 17):
            ours.weight.data, ours.bias.data = ours.weight.data[:rows], ours.bias.data[:rows]
            for _ in range(3):
                torch.testing.assert_close(ours(x), nn.functional.linear(x, ours.weight, ours.bias))


LAYOUTS = {
    "turned": lambda rows, cols: random(cols, rows).t(),
    "columns of a wider one": lambda rows, cols: random(rows, 3 * cols)[:, cols : 2 * cols],
    "every second row": lambda rows, cols: random(2 * rows, cols)[::2],
    "expanded": lambda rows, cols: random(1, cols).expand(rows, cols),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("way", INFERENCE)
def test_changes_that_hide_from_torch_are_seen_in_any_layout(way: str, layout: str) -> None:
    block, x = made(way), random(5, DIM)
    block.unit.up.weight = nn.Parameter(LAYOUTS[layout](HIDDEN, DIM))
    assert not block.unit.up.weight.is_contiguous()
    with torch.no_grad():
        same(block, x)
        block.unit.up.weight.data.mul_(2) if layout != "expanded" else block.unit.up.weight.data[:1].mul_(2)
        same(block, x)


@pytest.mark.parametrize("layout", [*LAYOUTS, "one row", "one column", "nothing"])
def test_a_probe_is_a_view_of_a_few_numbers(layout: str) -> None:
    sizes = {"one row": (1, 90), "one column": (90, 1), "nothing": (0, 7)}
    x = random(*sizes[layout]) if layout in sizes else LAYOUTS[layout](HIDDEN, DIM)
    probe = _block_kept._probe(x)
    assert probe.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    assert probe.numel() <= 2 * _block_kept.PROBES
    assert probe.numel() > 1 or not x.numel()
    assert set(probe.tolist()) <= set(x.reshape(-1).tolist())
