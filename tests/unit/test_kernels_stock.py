"""The way back from native kernels to torch's own modules."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from kernel_models import NATIVE, Quick
from kernel_models import unmeasured as unmeasured
from torch import nn

from gatewise import activations, kernels
from gatewise.core import GatewiseError
from gatewise.kernels._stock import stock

pytestmark = pytest.mark.usefixtures("unmeasured")


def model() -> nn.Sequential:
    torch.manual_seed(0)
    shared = nn.GELU()
    return nn.Sequential(
        nn.Linear(24, 48),
        shared,
        nn.Linear(48, 24, bias=False),
        shared,
        nn.SiLU(),
        Quick(),
        activations.Activation("gelu_tanh"),
        activations.FeedForward(24, 48, "swiglu"),
        activations.FeedForward(24, 48, "reglu"),
        activations.GatedUnit(24, 24, "geglu"),
    )


@NATIVE
@pytest.mark.parametrize("way", ["as it is", "copied", "pickled", "saved"])
def test_what_use_exchanged_comes_back_with_the_same_parameters_and_numbers(way: str) -> None:
    before = model().eval()
    kinds, x = [type(each) for each in before.modules()], torch.randn(5, 24)
    ours = copy.deepcopy(before)
    assert kernels.use(ours).replaced
    if way == "copied":
        ours = copy.deepcopy(ours)
    elif way == "pickled":
        ours = pickle.loads(pickle.dumps(ours))
    elif way == "saved":
        file = io.BytesIO()
        torch.save(ours, file)
        file.seek(0)
        ours = torch.load(file, weights_only=False)
    parameters, state = dict(ours.named_parameters()), list(ours.state_dict())
    assert stock(ours) is ours
    assert [type(each) for each in ours.modules()] == kinds
    assert not kernels.in_use(ours)
    assert ours[1] is ours[3]
    assert not any(each.training for each in ours.modules())
    assert list(ours.state_dict()) == state == list(before.state_dict())
    assert all(each is parameters[name] for name, each in ours.named_parameters())
    assert torch.equal(ours(x), before(x))
    assert kernels.use(ours).replaced


@NATIVE
def test_hooks_and_new_weights_stay() -> None:
    ours, seen = model(), []
    kernels.use(ours)
    handles = [ours[i].register_forward_hook(lambda *_: seen.append(1)) for i in (0, 1, 7)]
    ours[0].weight = nn.Parameter(torch.ones(48, 24))
    stock(ours)
    assert torch.equal(ours[0].weight, torch.ones(48, 24))
    ours(torch.randn(2, 24))
    assert len(seen) == 4  # 1 stands in two places
    for handle in handles:
        handle.remove()
    ours(torch.randn(2, 24))
    assert len(seen) == 4


def test_blocks_and_layers_that_were_ours_from_the_start() -> None:
    block, linear = kernels.FeedForward(8, 16, "swiglu", bias=True, path="blocked"), kernels.Linear(8, 4, pack=False)
    x = torch.randn(3, 8)
    found = stock(block)
    assert type(found) is activations.FeedForward
    assert vars(found).keys() == vars(activations.FeedForward(8, 16, "swiglu")).keys()
    torch.testing.assert_close(found(x), block(x))
    layer = stock(linear)
    assert type(layer) is nn.Linear
    assert vars(layer).keys() == vars(nn.Linear(8, 4)).keys()
    assert layer.weight is linear.weight
    plain = nn.ReLU()
    assert stock(plain) is plain


@NATIVE
def test_activations_and_units_of_ours_become_those_of_the_table() -> None:
    x = torch.randn(3, 8)
    act, unit = kernels.Activation("gelu"), kernels.GatedUnit(8, 4, "swiglu")
    assert type(stock(act)) is activations.Activation
    assert torch.equal(stock(act)(x), nn.functional.gelu(x))
    assert type(stock(unit)) is activations.GatedUnit
    torch.testing.assert_close(stock(unit)(x), unit(x))


@NATIVE
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.skipif(torch.backends.quantized.engine == "none", reason="torch has no quantised engine here")
def test_dynamic_quantisation_finds_the_layers_again() -> None:
    quantization: Any = torch.ao.quantization
    ours = model().eval()
    kernels.use(ours)

    def quantised(found: nn.Module) -> int:
        return sum("quantized" in type(each).__module__ for each in found.modules())

    assert quantised(quantization.quantize_dynamic(ours, {nn.Linear})) < quantised(
        quantization.quantize_dynamic(stock(ours), {nn.Linear})
    )


@NATIVE
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripts_and_symbolic_traces_are_of_torchs_own_modules() -> None:
    ours, x = nn.Sequential(nn.Linear(8, 4), nn.GELU()), torch.randn(3, 8)
    expected = ours(x)
    kernels.use(ours)
    with pytest.raises(GatewiseError, match=r"Linear: torch.fx follows .*kernels.stock\(model\) puts them back"):
        torch.fx.symbolic_trace(ours)
    traced: Any = torch.fx.symbolic_trace(stock(copy.deepcopy(ours)))
    assert torch.equal(traced(x), expected)
    scripted: Any = torch.jit.script(ours)  # torch puts what it compiles into the given model as well
    assert torch.equal(scripted(x), expected)


@pytest.mark.parametrize("given", [None, "model", nn.Linear, {}, lambda x: x])  # pyright: ignore[reportUnknownLambdaType]
@pytest.mark.parametrize("call", [stock, kernels.use, kernels.in_use])
def test_what_is_no_model_is_refused_in_a_line(call: Any, given: Any) -> None:
    with pytest.raises(GatewiseError, match=r"takes a model, an nn\.Module, not ") as caught:
        call(given)
    assert len(str(caught.value).splitlines()) == 1
