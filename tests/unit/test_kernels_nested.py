"""Derivatives of derivatives through torch.func, autograd and mixtures of both, as torch's own code has them."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

import gatewise
from gatewise import activations, functional, kernels
from gatewise.activations import get

pytestmark = [
    pytest.mark.skipif(not kernels.names(), reason=f"native kernels: {kernels.status()}"),
    # Torch's own use of what it deprecates, in forward mode.
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
]

func = torch.func
NAMES = ("gelu", "gelu_tanh", "silu", "quick_gelu")
GATES = ("geglu", "swiglu", "swiglu_clamped")
RECORDING = ("save", "recompute", "native", "torch")
NUMBERS = 300


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    """Every number within `tolerance` of the greatest; and there is something to compare."""
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def summed(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: function(x).pow(2).sum()


def nested(function: Callable[..., Tensor], x: Tensor) -> dict[str, Tensor]:
    loss, one = summed(function), torch.linspace(0.5, 1.5, x.numel()).view(x.shape)
    slope = func.grad(loss)
    return {
        "grad of grad": func.grad(lambda a: slope(a).pow(2).sum())(x),
        "grad of grad of grad": func.grad(lambda a: func.grad(lambda c: slope(c).sum())(a).sum())(x),
        "jvp of grad": func.jvp(slope, (x,), (one,))[1],
        "grad of jvp": func.grad(lambda a: func.jvp(loss, (a,), (one,))[1])(x),
        "jvp of jvp": func.jvp(lambda a: func.jvp(function, (a,), (one,))[1], (x,), (one,))[1],
        "grad of vmap of grad": func.grad(lambda a: func.vmap(slope)(a.view(3, -1)).pow(2).sum())(x),
        "hessian": func.hessian(loss)(x[:7]),
    }


@pytest.mark.parametrize("name", NAMES)
def test_transforms_nest(name: str) -> None:
    x = torch.linspace(-3, 3, NUMBERS)
    ours = nested(lambda a: getattr(functional, name)(a, accuracy="high"), x)
    theirs = nested(get(name).torch, x)
    for each, value in ours.items():
        close(value, theirs[each])


@pytest.mark.parametrize("name", GATES)
def test_transforms_of_gates_nest(name: str) -> None:
    x = torch.linspace(-3, 3, NUMBERS)
    ours = nested(lambda a: getattr(functional, name)(a, a.flip(-1), accuracy="high"), x)
    theirs = nested(lambda a: get(name).torch(a, a.flip(-1)), x)
    for each, value in ours.items():
        close(value, theirs[each], 1e-3)


def test_autograd_goes_through_a_transform() -> None:
    x = torch.linspace(-3, 3, NUMBERS, requires_grad=True)
    (ours,) = torch.autograd.grad(func.grad(summed(lambda a: functional.gelu(a, accuracy="high")))(x).sum(), x)
    (theirs,) = torch.autograd.grad(func.grad(summed(get("gelu").torch))(x).sum(), x)
    close(ours, theirs)


def pair(path: str, activation: str = "swiglu") -> tuple[nn.Module, nn.Module]:
    """A stock block, and ours with weights of the same numbers."""
    stock = activations.FeedForward(16, 16, activation=activation)
    return stock, kernels.FeedForward.of(deepcopy(stock), path=path)


def both(path: str, measured: Callable[[nn.Module], list[Tensor]], activation: str = "swiglu") -> None:
    torch.manual_seed(0)
    stock, ours = pair(path, activation)
    for one, other in zip(measured(ours), measured(stock), strict=True):
        close(one, other)


@pytest.mark.parametrize("path", RECORDING)
def test_a_recorded_gradient_counts_a_block_that_is_applied_twice_once_each(path: str) -> None:
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def measured(block: nn.Module) -> list[Tensor]:
        wanted = [x, *block.parameters()]
        first = torch.autograd.grad(block(block(x)).pow(2).sum(), wanted, create_graph=True)
        return [*first, *torch.autograd.grad(sum(each.pow(2).sum() for each in first), wanted)]

    both(path, measured)


@pytest.mark.parametrize("path", RECORDING)
def test_a_tied_weight_gets_its_gradient_once(path: str) -> None:
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))

    def measured(block: nn.Module) -> list[Tensor]:
        unit = block.get_submodule("unit")
        unit.get_submodule("up").weight = unit.get_submodule("gate").weight
        return list(torch.autograd.grad(block(x).pow(2).sum(), list(block.parameters()), create_graph=True))

    both(path, measured)


@pytest.mark.parametrize("path", RECORDING)
def test_forward_mode_goes_over_the_backward_pass_of_a_block(path: str) -> None:
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def measured(block: nn.Module) -> list[Tensor]:
        y = block(x)
        with forward_ad.dual_level():
            grad = forward_ad.make_dual(torch.ones_like(y), torch.linspace(0, 1, y.numel()).view(y.shape))
            found = torch.autograd.grad(y, [x, *block.parameters()], grad)
            tangents = [forward_ad.unpack_dual(each).tangent for each in found]
        return [each for each in tangents if each is not None]

    both(path, measured, "geglu")  # torch has no forward mode for what silu's backward calls


@pytest.mark.parametrize("path", RECORDING)
def test_a_backward_pass_under_autocast_is_that_of_the_forward_pass(path: str) -> None:
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def measured(block: nn.Module) -> list[Tensor]:
        y = block(x).pow(2).sum()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return list(torch.autograd.grad(y, [x, *block.parameters()]))

    torch.manual_seed(0)
    stock, ours = pair(path)
    for one, other in zip(measured(ours), measured(stock), strict=True):
        close(one, other, 0.02)  # torch computes these products in bfloat16


@pytest.mark.parametrize("path", RECORDING)
def test_gradients_in_a_batch(path: str) -> None:
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    directions = torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(2))

    def measured(block: nn.Module) -> list[Tensor]:
        y = block(x)
        return list(torch.autograd.grad(y, [x, *block.parameters()], directions, is_grads_batched=True))

    both(path, measured)


def test_gradients_in_a_batch_of_a_packed_gate_and_of_a_linear() -> None:
    packed = torch.randn(64, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = kernels.gate_packed("geglu", packed, accuracy="high")
    theirs = get("geglu").torch(*packed.chunk(2, -1))
    directions = torch.randn(3, *y.shape, generator=torch.Generator().manual_seed(2))
    (one,) = torch.autograd.grad(y, packed, directions, is_grads_batched=True)
    (other,) = torch.autograd.grad(theirs, packed, directions, is_grads_batched=True)
    close(one, other)

    linear = gatewise.Linear(256, 256)
    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(3)).requires_grad_()
    directions = torch.randn(3, 64, 256, generator=torch.Generator().manual_seed(4))
    ours = torch.autograd.grad(linear(x), [x, linear.weight], directions, is_grads_batched=True)
    stock = nn.functional.linear(x, linear.weight, linear.bias)
    for each, value in zip(
        ours, torch.autograd.grad(stock, [x, linear.weight], directions, is_grads_batched=True), strict=True
    ):
        close(each, value)


@pytest.mark.parametrize("path", ["panels", "packed", "rows", "blocked", "native", "torch"])
def test_weights_that_change_their_dtype_behind_a_block_are_noticed(path: str) -> None:
    block = kernels.FeedForward(16, 16, activation="swiglu", path=path)
    x = torch.randn(4, 16)
    with torch.no_grad():
        block(x)
        block(x)
        for each in block.parameters():
            each.data = each.data.bfloat16()
        with pytest.raises(gatewise.GatewiseError, match="one dtype"):
            block(x)
        assert block(x.bfloat16()).dtype is torch.bfloat16


def test_shapes_that_do_not_fit_are_refused_on_meta_too() -> None:
    op = torch.ops.gatewise
    x, weight = torch.empty(2, 8, device="meta"), torch.empty(5, 8, device="meta")
    assert op.few_rows(x, weight).shape == (2, 5)
    with pytest.raises(RuntimeError, match=r"shapes \(2, 8\) and \(5, 7\) do not match"):
        op.few_rows(x, torch.empty(5, 7, device="meta"))
    with pytest.raises(RuntimeError, match="differ"):
        op.few_block(torch.empty(2, 8), weight, torch.empty(5, 8), torch.empty(8, 5), 4)
