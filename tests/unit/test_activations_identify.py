"""`identify` finds what a module computes, is not fooled, and leaves no trace."""

import math
import random
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatewise.activations import Activation, identify, names

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)


def tanh_gelu(x: Tensor, cubic: float = 0.044715) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(SQRT_2_OVER_PI * (x + cubic * x**3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", names("scalar"))
def test_every_function_of_the_table_is_found(name: str, dtype: torch.dtype) -> None:
    # A parameter tells the dtype to probe in.
    class Typed(Activation):
        def __init__(self) -> None:
            super().__init__(name)
            self.unused = nn.Parameter(torch.zeros(3, dtype=dtype))

    found = identify(Typed())
    assert found.name == found.nearest == name
    assert found.elementwise
    assert not found.reason
    # softplus in torch is cut at 20, which is the largest error that float64 has.
    assert found.distance < (4e-6 if dtype == torch.float32 else 3e-9)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (nn.GELU(), "gelu"),
        (nn.GELU(approximate="tanh"), "gelu_tanh"),
        (tanh_gelu, "gelu_tanh"),
        (lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), "gelu"),
        (nn.ReLU(inplace=True), "relu"),
        (nn.SiLU(inplace=True), "silu"),
        (lambda x: x.mul_(torch.sigmoid(x)), "silu"),
        (lambda x: x.clamp_(min=0), "relu"),
        (nn.LeakyReLU(0.01), "leaky_relu"),
        (nn.PReLU(init=0.01), "leaky_relu"),
        (nn.PReLU(64, init=0.01), "leaky_relu"),
        (nn.Identity(), "identity"),
        (nn.Dropout(0.5), "identity"),
        (nn.Sequential(nn.Dropout(0.5), nn.Tanh()), "tanh"),
        (torch.relu, "relu"),
        (nn.Hardswish(inplace=True), "hardswish"),
    ],
)
def test_by_what_it_computes_and_not_by_its_name(fn: Callable[[Tensor], Tensor], name: str) -> None:
    found = identify(fn)
    assert (found.name, found.elementwise) == (name, True)


@pytest.mark.parametrize(
    ("fn", "nearest", "distance"),
    [
        # 4.7e-4 at 2.7 between the erf and the tanh form is what must be told apart; these are close relatives.
        (lambda x: x * torch.sigmoid(1.6 * x), "quick_gelu", 1e-2),
        (lambda x: tanh_gelu(x, 0.04), "gelu_tanh", 1e-3),
        (nn.LeakyReLU(0.02), "leaky_relu", 5e-3),
        (nn.RReLU(), "leaky_relu", 1e-1),
        (nn.PReLU(), "leaky_relu", 1e-1),
        (nn.PReLU(64), "leaky_relu", 1e-1),
        (nn.Hardtanh(), "tanh", 1e-1),
        (nn.CELU(alpha=1.01), "elu", 5e-4),
        (nn.ReLU6(), "tanh", 1e-2),
        (lambda x: nn.functional.gelu(x.bfloat16()).float(), "gelu", 1e-3),
    ],
)
def test_relatives_are_told_apart(fn: Callable[[Tensor], Tensor], nearest: str, distance: float) -> None:
    found = identify(fn)
    assert found.name is None
    assert found.elementwise
    assert found.distance > distance
    assert found.reason
    if not isinstance(fn, nn.ReLU6):
        assert found.nearest == nearest


def test_a_channel_of_its_own_kind_is_no_leaky_relu() -> None:
    module = nn.PReLU(8, init=0.01)
    assert identify(module).name == "leaky_relu"
    with torch.no_grad():
        module.weight[5] = 0.02
    assert identify(module).name is None


def raises(x: Tensor) -> Tensor:
    raise KeyError("no such thing")


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (nn.Softmax(dim=-1), "other inputs change"),
        (nn.Softmax(dim=0), "other inputs change"),
        (nn.Softmax(dim=1), "other inputs change"),
        (nn.Softmax2d(), "other inputs change"),
        (nn.LayerNorm(768), "other inputs change"),
        (nn.LayerNorm(768, elementwise_affine=False), "raises"),
        (nn.RMSNorm(64), "other inputs change"),
        (nn.Linear(16, 16), "other inputs change"),
        (nn.Linear(16, 8), "raises RuntimeError"),
        (nn.GLU(), "turns shape"),
        (lambda x: x.flip(0), "other inputs change"),
        (lambda x: x.cumsum(0), "other inputs change"),
        (lambda x: x - x.mean(), "other inputs change"),
        (lambda x: nn.functional.dropout(x, 0.5, training=True), "different outputs"),
        (lambda x: x + torch.rand_like(x), "different outputs"),
        (raises, "raises KeyError: 'no such thing'"),
        (lambda x: (x, x), "returns tuple"),
        (lambda x: None, "returns NoneType"),
        (lambda x: x > 0, "returns torch.bool"),
        (lambda x: x.sum(), "turns shape"),
        (nn.Embedding(4, 4), "raises"),
        (nn.ReLU().to("meta"), None),
        (nn.PReLU().to("meta"), "meta"),
    ],
)
def test_what_is_no_elementwise_function(fn: Callable[[Tensor], Tensor], reason: str | None) -> None:
    found = identify(fn)
    if reason is None:
        assert found.name == "relu"
        return
    assert found.name is None
    assert found.nearest is None
    assert not found.elementwise
    assert found.distance == math.inf
    assert reason in found.reason


def test_what_overflows_is_not_the_function() -> None:
    found = identify(lambda x: torch.log(1 + torch.exp(x)))
    assert (found.name, found.nearest, found.distance) == (None, "softplus", math.inf)
    assert "not finite" in found.reason


def test_half_precision_says_when_it_cannot_tell() -> None:
    class Half(Activation):
        def __init__(self, name: str, dtype: torch.dtype) -> None:
            super().__init__(name)
            self.unused = nn.Parameter(torch.zeros(1, dtype=dtype))

    for dtype in (torch.bfloat16, torch.float16):
        assert identify(Half("silu", dtype)).name == "silu"
        assert identify(Half("relu2", dtype)).name == "relu2"
    found = identify(Half("gelu_tanh", torch.bfloat16))
    assert found.name is None
    assert found.elementwise
    assert "gelu, gelu_tanh" in found.reason


class Counting(nn.Module):
    """Changes a buffer, a plain attribute and a parameter whenever it runs, more so in training."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.scale = nn.Parameter(torch.ones(1))
        self.plain = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.plain += 1
        if self.training:
            with torch.no_grad():
                self.scale += 1
        return torch.relu(x) * self.scale


class Uncopyable(Counting):
    def __deepcopy__(self, memo: object) -> None:
        raise RuntimeError("cannot be copied")


@pytest.mark.parametrize("kind", [Counting, Uncopyable])
def test_nothing_is_left_behind(kind: type[Counting]) -> None:
    module = kind()
    model = nn.Sequential(module, nn.Dropout(0.5), nn.Tanh().eval())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [part.training for part in model.modules()]
    torch.manual_seed(1)
    random.seed(1)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    for fn in (model, module, nn.RReLU(), lambda x: x + torch.rand_like(x)):
        identify(fn)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])
    assert [part.training for part in model.modules()] == flags
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in model.parameters())
    assert identify(module).name == "relu"
    if kind is Counting:
        assert module.plain == 0


def test_neither_default_dtype_nor_autocast_nor_inference_mode_matter() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert identify(nn.GELU()).name == "gelu"
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert identify(nn.Softplus()).name == "softplus"
    with torch.inference_mode():
        assert identify(nn.GELU(approximate="tanh")).name == "gelu_tanh"


def test_transformers_activations() -> None:
    table = pytest.importorskip("transformers.activations").ACT2FN
    expected = {
        "gelu": "gelu",
        "gelu_python": "gelu",
        "gelu_new": "gelu_tanh",
        "gelu_fast": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "quick_gelu": "quick_gelu",
        "silu": "silu",
        "swish": "silu",
        "mish": "mish",
        "relu": "relu",
        "relu2": "relu2",
        "leaky_relu": "leaky_relu",
        "linear": "identity",
        "sigmoid": "sigmoid",
        "tanh": "tanh",
        # clipped at +-10, and the original BERT's laplace: not in the table
        "gelu_10": None,
        "laplace": None,
        "relu6": None,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {key: identify(table[key]).name for key in expected}
    assert found == expected


def test_tolerance_is_the_callers_choice() -> None:
    assert identify(nn.PReLU(init=0.01 + 1e-6).double()).name == "leaky_relu"
    assert identify(nn.PReLU(init=0.01 + 1e-6).double(), tolerance=1e-9).name is None
    assert identify(nn.GELU(approximate="tanh"), tolerance=1e-3).name is None  # gelu fits as well then
