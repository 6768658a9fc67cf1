"""`Linear` and what goes on around it: the compiler, transforms, modes, other devices and dtypes; packed weights."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from gatewise.core import GatewiseError
from gatewise.kernels import _choice, _linear_function, _linear_operator, _products
from gatewise.kernels._linear import Linear

WAYS = _products.available()
packs = pytest.mark.skipif(not _products.packable(), reason="no packed weights here")
ops = torch.ops.gatewise


@pytest.fixture(autouse=True)
def _small_layers_count(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GATEWISE_CACHE", "off")
    monkeypatch.setattr(_linear_function, "SMALL", 0)
    monkeypatch.setattr("gatewise.kernels._choice_timing.SAMPLE_S", 0.0)
    _choice.forget()
    yield
    _choice.forget()


def pair() -> tuple[nn.Linear, Linear]:
    torch.manual_seed(0)
    stock = nn.Linear(24, 40)
    return stock, Linear.of(stock)


@pytest.mark.parametrize("way", WAYS)
def test_compiled_without_a_break_and_for_any_number_of_rows(way: str) -> None:
    stock, ours = pair()
    torch.compiler.reset()
    graphs: list[list[str]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        from functorch.compile import make_boxed_func
        from torch._dynamo.backends.common import aot_autograd

        def look(inner: torch.fx.GraphModule, _: list[Tensor]) -> object:
            graphs.append([str(node.target) for node in inner.graph.nodes if node.op == "call_function"])
            return make_boxed_func(inner)

        return aot_autograd(fw_compiler=look)(graph, inputs)

    compiled = torch.compile(ours, fullgraph=True, dynamic=True, backend=backend)
    with _choice.forced(linear=way):
        for shape in ((5, 24), (9, 24), (2, 3, 24)):
            x, y = torch.randn(shape).requires_grad_(), None
            y = compiled(x)
            y.square().sum().backward()
            found = [y.detach(), x.grad, ours.weight.grad, ours.bias.grad]
            x.grad = None
            ours.zero_grad(set_to_none=True)
            z = stock(x)
            z.square().sum().backward()
            for one, other in zip(found, [z.detach(), x.grad, stock.weight.grad, stock.bias.grad], strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
            ours.zero_grad(set_to_none=True)
    called = {name for graph in graphs for name in graph}
    assert {f"gatewise.linear{suffix}.default" for suffix in ("", "_by_input", "_by_weight")} <= called
    # Whatever the compiler did, the ways were asked for when it ran, with real tensors.
    told = {each.question: each.chosen for each in _choice.choices()}
    assert told == dict.fromkeys(("linear.forward", "linear.by_input", "linear.by_weight"), way)


def test_compiled_under_autocast_it_is_what_stock_is() -> None:
    stock, ours = pair()
    torch.compiler.reset()
    x = torch.randn(5, 24)
    with torch.autocast("cpu"):
        found = torch.compile(ours, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(found, stock(x))


@pytest.mark.parametrize("rows", [0, 6])
def test_the_operators_keep_torchs_rules(rows: int) -> None:
    x, weight, bias = torch.randn(rows, 4), torch.randn(5, 4), torch.randn(5)
    grad = torch.randn(rows, 5)
    for op, inputs in (
        (ops.linear.default, (x, weight, bias)),
        (ops.linear.default, (x, weight, None)),
        (ops.linear_by_input.default, (grad, weight)),
        (ops.linear_by_weight.default, (grad, x)),
    ):
        leaves = tuple(None if each is None else each.clone().requires_grad_() for each in inputs)
        with _choice.forced(linear="torch"):
            torch.library.opcheck(op, leaves)


def test_the_operators_have_derivatives_of_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_linear_operator, "ask", lambda *_: "torch")
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    for op, inputs in ((ops.linear, (x, weight, bias)), (ops.linear_by_input, (grad, weight))):
        assert torch.autograd.gradgradcheck(op, inputs)
    assert torch.autograd.gradgradcheck(ops.linear_by_weight, (grad, x))


def test_a_compiler_that_freezes_weights_gets_an_operation_it_knows() -> None:
    from torch._inductor import config

    _, ours = pair()
    for freezing in (False, True):
        torch.compiler.reset()
        called: list[str] = []

        def look(graph: torch.fx.GraphModule, _: list[Tensor], called: list[str] = called) -> object:
            called.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
            return graph

        with config.patch(freezing=freezing), torch.no_grad():
            torch.compile(ours, fullgraph=True, backend=look)(torch.randn(5, 24))
        assert any("gatewise" in name for name in called) is not freezing


def test_exported_it_is_torchs_own_operation() -> None:
    _, ours = pair()
    program = torch.export.export(ours, (torch.randn(5, 24),))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert called == {"aten.linear.default"}


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # torch's own, of forward mode
def test_transforms_get_stock_operations() -> None:
    stock, ours = pair()
    x = torch.randn(6, 24)

    def loss(layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x).square().sum()

    torch.testing.assert_close(torch.func.vmap(ours)(x), stock(x))
    torch.testing.assert_close(
        torch.func.vmap(torch.func.grad(lambda x: loss(ours, x)))(x),
        torch.func.vmap(torch.func.grad(lambda x: loss(stock, x)))(x),
    )
    torch.testing.assert_close(torch.func.jacrev(ours)(x[0]), stock.weight)
    torch.testing.assert_close(torch.func.hessian(lambda x: loss(ours, x))(x[0]), 2 * stock.weight.t() @ stock.weight)
    direction = torch.randn(6, 24)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(ours(forward_ad.make_dual(x, direction))).tangent
    torch.testing.assert_close(tangent, direction @ stock.weight.t())
    assert _choice.choices() == ()


def test_work_is_counted_as_stock_is() -> None:
    def flops(layer: nn.Module) -> int:
        x = torch.randn(6, 24, requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            layer(x).sum().backward()
        return counter.get_total_flops()

    stock, ours = pair()
    assert flops(ours) == flops(stock) == 3 * 2 * 6 * 24 * 40


def test_what_is_not_for_us_goes_to_stock_and_says_so() -> None:
    stock, ours = pair()
    x = torch.randn(6, 24)
    assert ours.double().path(x.double()).startswith("F.linear: products are chosen for float32 and bfloat16")
    assert torch.equal(ours(x.double()), stock.double()(x.double()))
    ours.float()
    meta = Linear(24, 40, device="meta")
    assert meta(torch.ones(6, 24, device="meta")).shape == (6, 40)
    assert "on meta" in meta.path(torch.ones(6, 24, device="meta"))
    assert ours.path(torch.ones(0, 24)) == "F.linear: nothing to multiply"
    with pytest.raises(
        GatewiseError, match=r"one dtype, got \[6, 24\] of torch.float64 and \[40, 24\] of torch.float32"
    ):
        ours(x.double())

    class Marked(Tensor):
        pass

    marked = x.as_subclass(Marked)
    assert type(ours(marked)) is Marked
    assert ours.path(marked).startswith("F.linear: a tensor subclass (Marked")
    with FlopCounterMode(display=False):
        assert ours.path(x) == "F.linear: under a mode that watches every operation"
    assert _choice.choices() == ()


def test_small_layers_go_to_stock_unless_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_linear_function, "SMALL", 2**20)
    _, ours = pair()
    x = torch.randn(6, 24)
    assert ours.path(x) == "F.linear: fewer than 1,048,576 multiplications"
    with _choice.forced(linear="torch"):
        assert ours.path(x) == "torch"


def test_deterministic_programs_get_stock_unless_forced() -> None:
    _, ours = pair()
    x = torch.randn(6, 24)
    torch.use_deterministic_algorithms(True)
    try:
        assert ours.path(x).startswith("F.linear: torch.use_deterministic_algorithms")
        with _choice.forced(linear="torch"):
            assert ours.path(x) == "torch"
    finally:
        torch.use_deterministic_algorithms(False)


@packs
def test_packed_weights_follow_the_weights() -> None:
    stock, ours = pair()
    ours.eval()
    x = torch.randn(6, 24)

    def check(*, packed: bool) -> None:
        torch.testing.assert_close(ours(x), stock(x))
        torch.testing.assert_close(ours(x), stock(x))
        assert (ours._packed is not None and ours._packed.made) is packed

    with torch.no_grad(), _choice.forced({"linear.inference": "packed"}):
        assert ours.path(x) == "packed"
        check(packed=True)
        stock.weight.mul_(2)
        check(packed=True)
        stock.weight.data.mul_(2)  # torch does not count this one
        check(packed=True)
        stock.weight.data = torch.randn(40, 24)
        check(packed=True)
        ours.load_state_dict(nn.Linear(24, 40).state_dict())
        assert ours._packed is None
        check(packed=True)
        ours.weight = nn.Parameter(torch.randn(40, 24))
        stock.weight = ours.weight
        check(packed=True)
        ours.bfloat16()
        assert ours._packed is None
        ours.float()
        ours.train()
        assert ours._packed is None
        check(packed=False)
        ours.eval()
        ours.drop_packed()
        ours.pack = False
        assert ours.path(x) in WAYS
        check(packed=False)


@packs
def test_nothing_is_packed_for_weights_that_change_at_every_call() -> None:
    stock, ours = pair()
    ours.eval()
    with torch.no_grad(), _choice.forced({"linear.inference": "packed"}):
        for _ in range(3):
            stock.weight.add_(0.1)
            x = torch.randn(6, 24)
            torch.testing.assert_close(ours(x), stock(x))
            assert ours._packed is not None
            assert not ours._packed.made


@packs
def test_weights_of_inference_mode_are_not_packed() -> None:
    # torch does not count the writes to them.
    with torch.inference_mode(), _choice.forced({"linear.inference": "packed"}):
        stock = nn.Linear(24, 40)
        ours = Linear.of(stock).eval()
        x = torch.randn(6, 24)
        for _ in range(3):
            torch.testing.assert_close(ours(x), stock(x))
            stock.weight.mul_(2)


@packs
def test_gradients_are_never_of_packed_weights() -> None:
    _, ours = pair()
    ours.eval()
    with _choice.forced({"linear.inference": "packed", "linear.forward": "torch"}):
        x = torch.randn(6, 24)
        with torch.no_grad():
            ours(x)
            ours(x)
        assert ours.path(x) == "torch"
        ours(x).sum().backward()
    assert ours.weight.grad is not None
