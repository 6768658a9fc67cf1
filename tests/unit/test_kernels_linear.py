"""`Linear` is `nn.Linear` in all but the way of its products: values, gradients of any order, what it shares."""

import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from gatewise.core import GatewiseError
from gatewise.kernels import _choice, _linear_function, _linear_questions, _products
from gatewise.kernels._linear import Linear

WAYS = _products.available()


@pytest.fixture(autouse=True)
def _small_layers_count(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Products of any size are chosen for, nothing is measured for long, and nothing is kept."""
    monkeypatch.setenv("GATEWISE_CACHE", "off")
    monkeypatch.setattr(_linear_function, "SMALL", 0)
    monkeypatch.setattr("gatewise.kernels._choice_timing.SAMPLE_S", 0.0)
    _choice.forget()
    yield
    _choice.forget()


def pair(bias: bool = True, dtype: torch.dtype = torch.float32) -> tuple[nn.Linear, Linear]:
    torch.manual_seed(0)
    stock = nn.Linear(24, 40, bias=bias, dtype=dtype)
    ours = Linear(24, 40, bias=bias, dtype=dtype)
    ours.load_state_dict(stock.state_dict())
    return stock, ours


def both_ways(layer: nn.Module, x: Tensor, *, by_x: bool = True) -> list[Tensor]:
    """The value and all gradients."""
    x = x.detach().clone().requires_grad_(by_x)
    y = layer(x)
    y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape))
    found = [y.detach(), *([x.grad] if x.grad is not None else [])]
    found += [each.grad for each in layer.parameters() if each.grad is not None]
    layer.zero_grad(set_to_none=True)
    return found


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert one.stride() == other.stride()
        # Near zero, sums of numbers near 1 that cancel.
        rtol, atol = (1e-5, 2e-6) if one.dtype == torch.float32 else (1.6e-2, 4e-3)
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", _products.DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 24), (24,), (1, 24), (2, 3, 24), (2, 0, 24), (0, 24)])
def test_values_and_gradients_are_stock_ones(way: str, dtype: torch.dtype, bias: bool, shape: tuple[int, ...]) -> None:
    if way not in _products.available(dtype):
        pytest.skip("oneDNN does not multiply this here")
    stock, ours = pair(bias, dtype)
    x = torch.randn(shape, dtype=dtype)
    with _choice.forced(linear=way):
        assert_same(both_ways(ours, x), both_ways(stock, x))
        if x.ndim == 3:
            assert_same(both_ways(ours, x.transpose(0, 1)), both_ways(stock, x.transpose(0, 1)))
        if x.numel():
            assert ours.path(x) == way


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("frozen", ["weight", "bias", "x"])
def test_only_what_is_asked_for_gets_a_gradient(way: str, frozen: str) -> None:
    stock, ours = pair()
    for layer in (stock, ours):
        if frozen != "x":
            getattr(layer, frozen).requires_grad_(False)
    x = torch.randn(5, 24)
    with _choice.forced(linear=way):
        assert_same(both_ways(ours, x, by_x=frozen != "x"), both_ways(stock, x, by_x=frozen != "x"))


def test_no_more_is_saved_than_stock_saves() -> None:
    def saved(layer: nn.Module, x: Tensor) -> set[int]:
        kept: set[int] = set()

        def pack(tensor: Tensor) -> Tensor:
            kept.add(tensor.data_ptr())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            layer(x)
        return kept

    stock, _ = pair()
    ours = Linear.of(stock)
    for weight, by_x in ((True, True), (False, True), (True, False)):
        stock.weight.requires_grad_(weight)
        x = torch.randn(5, 24, requires_grad=by_x)
        assert saved(ours, x) == saved(stock, x)


@pytest.mark.parametrize("way", WAYS)
def test_each_direction_goes_its_own_way(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "onednn" if way == "torch" else "torch"
    if other not in WAYS:
        pytest.skip("no oneDNN here")
    went: list[tuple[str, str]] = []
    for table in ("BY_INPUT", "BY_WEIGHT"):
        plain = getattr(_products, table)
        spied = {
            name: lambda *args, name=name, table=table, plain=plain: (
                went.append((table, name)),
                plain[name](*args),
            )[1]
            for name in plain
        }
        monkeypatch.setattr(_products, table, spied)
    _, ours = pair()
    with _choice.forced({"linear": way, "linear.by_weight": other}):
        both_ways(ours, torch.randn(5, 24))
    assert went == [("BY_INPUT", way), ("BY_WEIGHT", other)]
    told = {each.question: each.chosen for each in _choice.choices()}
    assert told == {"linear.forward": way, "linear.by_input": way, "linear.by_weight": other}


def test_what_is_measured_is_one_question_for_a_direction_and_a_power_of_two() -> None:
    stock, ours = pair()
    for rows in (5, 8, 7):
        x = torch.randn(rows, 24)
        assert_same(both_ways(ours, x), both_ways(stock, x))
    found = _choice.choices()
    assert [each.question for each in found] == ["linear.by_input", "linear.by_weight", "linear.forward"]
    assert all(each.source in ("measured", "only") for each in found)
    expected = {"rows": 8, "in": 24, "out": 40, "dtype": "float32", "threads": torch.get_num_threads()}
    assert all(dict(each.key) == expected for each in found)


def test_measuring_leaves_the_program_as_it_was() -> None:
    _, ours = pair()
    x = torch.randn(5, 24)
    state = torch.get_rng_state()
    with torch.device("meta"):
        ours(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert ours.weight.grad is None


@pytest.mark.parametrize("way", WAYS)
def test_derivatives_of_the_second_order(way: str) -> None:
    stock, ours = pair()
    x = torch.randn(5, 24)

    def penalty(layer: nn.Module) -> list[Tensor]:
        own = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(layer(own).square().sum(), own, create_graph=True)
        grad.square().sum().backward()
        found = [grad.detach(), own.grad, *[each.grad for each in layer.parameters()]]
        layer.zero_grad(set_to_none=True)
        return [each for each in found if each is not None]

    with _choice.forced(linear=way):
        for one, other in zip(penalty(ours), penalty(stock), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_gradcheck_of_both_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    # In float64, with the products computed in it too: what is checked is who gets which gradient.
    monkeypatch.setattr(_products, "DTYPES", (torch.float64,))
    monkeypatch.setattr(_products, "available", lambda dtype: ("torch", "other"))
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    with _choice.forced(linear="torch"):
        assert _linear_function.stock(x, weight, bias) is None
        assert torch.autograd.gradcheck(_linear_function.Products.apply, (x, weight, bias))
        assert torch.autograd.gradgradcheck(_linear_function.Products.apply, (x, weight, bias))


@pytest.mark.parametrize("way", WAYS)
def test_the_result_may_be_written_to(way: str) -> None:
    stock, ours = pair()
    x = torch.randn(2, 3, 24)
    with _choice.forced(linear=way):
        assert_same(
            both_ways(nn.Sequential(ours, nn.ReLU(inplace=True)), x), both_ways(nn.Sequential(stock, nn.ReLU()), x)
        )


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputed(reentrant: bool) -> None:
    stock, ours = pair()
    x = torch.randn(6, 24)

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = ours

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.inner, x, use_reentrant=reentrant)

    assert_same(both_ways(Checkpointed(), x), both_ways(stock, x))


def test_one_weight_in_two_layers_gathers_both_gradients() -> None:
    stock, _ = pair(bias=False)
    tied, other = Linear.of(stock), Linear(24, 40, bias=False)
    other.weight = tied.weight
    x = torch.randn(5, 24)
    (tied(x) + other(2 * x)).sum().backward()
    found = tied.weight.grad
    assert found is not None
    assert found is other.weight.grad
    torch.testing.assert_close(found, 3 * x.sum(0).expand(40, 24))


def test_of_shares_parameters_hooks_and_mode() -> None:
    stock, _ = pair()
    stock.eval()
    calls: list[str] = []
    handle = stock.register_forward_hook(lambda *_: calls.append("hook"))
    ours = Linear.of(stock)
    assert ours.weight is stock.weight
    assert ours.bias is stock.bias
    assert not ours.training
    assert (ours.in_features, ours.out_features) == (24, 40)
    assert ours.state_dict().keys() == stock.state_dict().keys()
    assert repr(ours) == repr(stock)
    ours(torch.randn(2, 24))
    handle.remove()
    ours(torch.randn(2, 24))
    assert calls == ["hook"]
    ours.weight = nn.Parameter(torch.zeros(40, 24))
    assert bool(stock.weight.any())
    assert Linear.of(ours).weight is ours.weight


def test_of_refuses_what_may_compute_something_else() -> None:
    class Adapted(nn.Linear):
        pass

    with pytest.raises(GatewiseError, match="not Adapted, which may differ"):
        Linear.of(Adapted(2, 3))
    with pytest.raises(GatewiseError, match="not Bilinear"):
        Linear.of(nn.Bilinear(2, 3, 4))  # type: ignore[arg-type]
    with pytest.raises(GatewiseError, match="not NonDynamicallyQuantizableLinear"):
        Linear.of(nn.MultiheadAttention(4, 2).out_proj)


def test_a_parametrization_is_followed() -> None:
    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    stock, ours = pair()
    for layer in (stock, ours):
        parametrize.register_parametrization(layer, "weight", Doubled())
    x = torch.randn(5, 24)
    assert_same(both_ways(ours, x), both_ways(stock, x))
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(ours.eval()(x), stock(x))


def test_copies_and_pickles() -> None:
    stock, ours = pair()
    ours.eval()
    x = torch.randn(5, 24)
    with torch.no_grad(), _choice.forced({"linear.inference": "packed"} if "onednn" in WAYS else {}):
        for _ in range(2):
            ours(x)
        whole = io.BytesIO()
        torch.save(ours, whole)
        whole.seek(0)
        copies = copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), torch.load(whole, weights_only=False)
        for each in copies:
            assert type(each) is Linear
            assert each.weight is not ours.weight
            torch.testing.assert_close(each(x), stock(x))


def test_another_width_is_refused() -> None:
    _, ours = pair()
    for shape in ((3, 23), (2, 3, 1), (), (0,)):
        with pytest.raises(GatewiseError) as error:
            ours(torch.ones(shape))
        assert str(error.value) == f"Linear expects [..., 24], got {list(shape)}"
        with pytest.raises(GatewiseError):
            ours.path(torch.ones(shape))


@pytest.mark.parametrize("way", WAYS)
def test_under_autocast_it_casts_as_stock_does(way: str) -> None:
    stock, ours = pair()
    x = torch.randn(5, 24)
    with _choice.forced(linear=way):
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype=dtype):
                found, expected = both_ways(ours, x), both_ways(stock, x)
                for one, other in zip(found, expected, strict=True):
                    assert one.dtype == other.dtype
                    torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)
                assert ours(x.to(dtype)).dtype == dtype
                assert ours.path(x).startswith("F.linear: autocast")
        # Forward outside and backward inside of a region: products stay in float32.
        own, base = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, z = ours(own), stock(base)
        with torch.autocast("cpu"):
            y.sum().backward()
        z.sum().backward()
        assert own.grad is not None
        assert base.grad is not None
        torch.testing.assert_close(own.grad, base.grad)


class Casts(TorchDispatchMode):
    """Counts the tensors that are cast."""

    def __init__(self) -> None:
        super().__init__()
        self.num = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num += func is torch.ops.aten._to_copy.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("grad", [False, True])
def test_weights_are_cast_once_in_a_region_of_autocast(grad: bool) -> None:
    x = torch.randn(5, 24)
    found: list[int] = []
    for layer in pair():
        with Casts() as casts, torch.autocast("cpu"), torch.set_grad_enabled(grad):
            for _ in range(3):
                layer(x)
        found.append(casts.num)
    assert found == [5, 5]  # the weight, the bias, and x at each call


@pytest.mark.parametrize(
    ("rows", "n_in", "n_out", "measured"),
    [(1, 384, 1024, 1), (3, 384, 1024, 4), (9000, 768, 2048, 4096), (4096, 768, 50_257, 128), (9000, 2**14, 2**16, 16)],
)
def test_a_question_is_of_bounded_work_and_memory(rows: int, n_in: int, n_out: int, measured: int) -> None:
    with _choice.forced(linear="torch"):
        _linear_questions.ask("forward", rows, (n_out, n_in), torch.float32)
    (choice,) = _choice.choices()
    assert dict(choice.key)["rows"] == measured


def test_of_refuses_a_replaced_forward() -> None:
    stock, _ = pair()
    stock.forward = lambda x: x  # type: ignore[method-assign]
    with pytest.raises(GatewiseError, match="a forward of its own"):
        Linear.of(stock)
