"""Native kernels in a whole model: what is exchanged, what is left and why, and that the function stays."""

import copy
from collections.abc import Callable

import pytest
import torch
from kernel_models import NATIVE, Quick
from kernel_models import unmeasured as unmeasured
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gatewise import activations
from gatewise.inspection import inspect
from gatewise.kernels._feedforward import FeedForward
from gatewise.kernels._linear import Linear
from gatewise.kernels._modules import Activation, GatedUnit
from gatewise.kernels._use import use

pytestmark = [NATIVE, pytest.mark.usefixtures("unmeasured")]


class QuickInPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(torch.sigmoid(1.702 * x))


class Dropped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(nn.functional.gelu(x), 0.5, self.training)


class Wider(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's own name)
        return super().forward(input) + 1


def model() -> nn.Sequential:
    torch.manual_seed(0)
    shared = nn.GELU()
    return nn.Sequential(
        nn.Linear(24, 48),
        shared,
        nn.Linear(48, 24),
        shared,
        nn.GELU("tanh"),
        nn.SiLU(),
        Quick(),
        activations.Activation("gelu"),
        activations.FeedForward(24, 48, "swiglu"),
        activations.FeedForward(24, 48, "reglu"),
        activations.GatedUnit(24, 24, "geglu"),
    )


def test_what_has_a_kernel_is_ours_and_the_function_and_its_gradients_stay() -> None:
    stock = model()
    ours = copy.deepcopy(stock)
    parameters = dict(ours.named_parameters())
    found = use(ours)
    assert found.model is ours
    kinds = [Linear, Activation, Linear, Activation, Activation, Activation, Activation, Activation]
    assert [type(each) for each in ours] == [*kinds, FeedForward, FeedForward, GatedUnit]
    assert ours[1] is ours[3]
    assert [each.path for each in found.replaced] == ["0", "1", "2", *"456789", "10", "10.gate", "10.up"]
    assert all(parameter is parameters[name] for name, parameter in ours.named_parameters())
    assert ours.state_dict().keys() == stock.state_dict().keys()
    x = torch.randn(40, 24)
    results: list[list[Tensor]] = []
    for each in (stock, ours):
        y = each(x)
        y.square().sum().backward()
        results.append([y.detach(), *(p.grad for p in each.parameters() if p.grad is not None)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    assert use(ours).replaced == ()  # a second time there is nothing left to do


def hooked() -> nn.Module:
    made = nn.GELU()
    made.register_forward_hook(lambda *_: None)
    return made


def parametrized() -> nn.Module:
    made = nn.Linear(4, 4)
    parametrize.register_parametrization(made, "weight", nn.Identity())
    return made


def patched() -> nn.Module:
    made = nn.GELU()
    made.forward = lambda x: x  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (nn.ReLU, "relu has no kernel"),
        (lambda: activations.Activation("mish"), "mish has no kernel"),
        (lambda: nn.SiLU(inplace=True), "in place"),
        (QuickInPlace, "in place"),
        (hooked, "hooks"),
        (parametrized, "parametrization"),
        (patched, "its forward was replaced"),
        (lambda: nn.Linear(4, 4).double(), "float64"),
        (lambda: nn.Linear(4, 4, device="meta"), "meta"),
        (lambda: Wider(4, 4), "a class of its own"),
        (lambda: nn.MultiheadAttention(4, 1), "fused path"),
        (lambda: nn.TransformerEncoderLayer(4, 1, 8, activation="gelu"), "fused path"),
    ],
)
def test_what_must_stay_is_left_and_the_reason_is_said(make: Callable[[], nn.Module], words: str) -> None:
    whole = nn.Sequential(make())
    before = [type(module) for module in whole.modules()]
    found = use(whole)
    assert [type(module) for module in whole.modules()] == before
    assert found.replaced == ()
    assert any(words in each.reason for each in found.left)
    assert str(found).startswith("nothing was replaced: ")
    assert words in str(found)


def test_what_is_more_than_a_function_is_no_candidate() -> None:
    whole = nn.Sequential(Dropped(), nn.Dropout(), nn.Identity(), nn.Softmax(-1))
    found = use(whole)
    assert (found.replaced, found.left) == ((), ())
    assert "no module of the model has a kernel" in str(found)


def test_a_part_of_a_block_with_a_hook_is_still_called_and_the_rest_is_ours() -> None:
    block = activations.FeedForward(8, 16, "swiglu")
    seen: list[object] = []
    block.unit.gate.register_forward_hook(lambda *told: seen.append(told))
    found = use(block)
    assert found.model is block
    assert (type(block.unit), type(block.unit.gate), type(block.down)) == (GatedUnit, nn.Linear, Linear)
    block(torch.randn(2, 8))
    assert len(seen) == 1


def test_a_model_that_is_a_module_of_ours_itself_comes_back_with_what_hung_on_it() -> None:
    block = activations.FeedForward(8, 16, "geglu").eval()
    block.mark = "kept"  # type: ignore[assignment]
    found = use(block)
    assert type(found.model) is FeedForward
    assert (found.model.mark, found.model.training) == ("kept", False)
    assert found.model.down.weight is block.down.weight
    assert found.to_json()["replaced"] == [
        {"path": "", "was": "FeedForward", "now": "FeedForward", "function": "geglu"}
    ]


def test_the_walk_ends_in_a_model_that_contains_itself() -> None:
    whole = nn.Sequential(nn.GELU())
    whole.append(nn.ModuleList([whole]))
    assert [each.path for each in use(whole).replaced] == ["0"]


def test_inspection_names_what_the_native_operators_compute() -> None:
    whole = nn.Sequential(
        nn.Linear(16, 32),
        activations.Activation("gelu_tanh"),
        nn.Linear(32, 16),
        activations.GatedUnit(16, 24, "swiglu"),
        nn.Linear(24, 16),
    )
    inputs = torch.randn(4, 16)
    stock = [(site.path, site.found.name) for site in inspect(whole, inputs=inputs).sites]
    use(whole)
    found = inspect(whole, inputs=inputs).sites
    assert [(site.path, site.found.name) for site in found] == stock == [("1", "gelu_tanh"), ("3", "swiglu")]
    assert all(operation.startswith("gatewise.") for site in found for operation in site.ops)
    assert all(site.found.distance > 0 for site in found)  # the kernel itself was run, not the formula of its name
