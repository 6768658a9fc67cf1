"""The operators under torch's own machinery: opcheck, compile, fake tensors, vmap, higher derivatives, autocast."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from gatewise import functional, kernels
from gatewise.activations import get
from gatewise.core import GatewiseError
from gatewise.kernels import _autograd, _second
from gatewise.kernels._packed import gate_packed

pytestmark = [
    pytest.mark.skipif(not kernels.names(), reason=f"native kernels: {kernels.status()}"),
    # Torch's own use of what it deprecates, in its compiler and in forward mode.
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
]

every = pytest.mark.parametrize("name", kernels.names())
scalars = pytest.mark.parametrize("name", [name for name in kernels.names() if get(name).kind == "scalar"])
gates = pytest.mark.parametrize("name", [name for name in kernels.names() if get(name).kind == "gate"])


def made(name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, *, grad: bool = False) -> list[Tensor]:
    num = 2 if get(name).kind == "gate" else 1
    return [torch.randn(shape).to(dtype).requires_grad_(grad) for _ in range(num)]


def op(name: str, suffix: str = "") -> Any:
    return getattr(torch.ops.gatewise, name + suffix).default


def native(name: str) -> Callable[..., Tensor]:
    """The user's function, always by the kernel."""
    return lambda *x: getattr(functional, name)(*x, accuracy="high")


@every
def test_opcheck(name: str) -> None:
    x = made(name, (3, 17), grad=True)
    kept = [each.detach() for each in made(name, (6, 5))]
    quick = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(op(name), tuple(x))
    torch.library.opcheck(op(name), (*(each.T for each in kept), True), test_utils=quick)
    torch.library.opcheck(getattr(torch.ops.gatewise, name).no_grad, tuple(kept), test_utils=quick)
    torch.library.opcheck(op(name, "_high"), tuple(kept), test_utils=quick)
    torch.testing.assert_close(op(name, "_high")(*kept), op(name)(*kept, True), atol=0, rtol=0)
    torch.library.opcheck(op(name, "_backward"), (torch.ones(3, 17), *x))
    backward = getattr(torch.ops.gatewise, f"{name}_backward").no_grad
    torch.library.opcheck(backward, (torch.ones(6, 5), *kept), test_utils=quick)
    torch.library.opcheck(op(name, "_out"), tuple(kept), {"out": torch.empty(6, 5)}, test_utils=quick)
    outputs = ["by_gate", "by_up"] if len(x) == 2 else ["by_x"]
    given = {each: torch.empty(6, 5, dtype=torch.bfloat16) for each in outputs}
    torch.library.opcheck(op(name, "_backward_out"), tuple(t.bfloat16() for t in (kept[0], *kept)), given)


@every
def test_compiled_whole_and_for_other_sizes(name: str) -> None:
    def f(*x: Tensor) -> Tensor:
        return getattr(functional, name)(*x) * 2

    compiled = torch.compile(f, fullgraph=True, backend="aot_eager", dynamic=True)
    for shape in ((4, 32), (7, 300)):
        x = made(name, shape, grad=True)
        y, wanted = compiled(*x), op(name)(*x) * 2
        torch.testing.assert_close(y, wanted, atol=0, rtol=0)
        slopes = torch.autograd.grad(wanted.sum(), x)
        for got, slope in zip(torch.autograd.grad(y.sum(), x), slopes, strict=True):
            torch.testing.assert_close(got, slope, atol=0, rtol=0)


@gates
def test_compiled_packed(name: str) -> None:
    def f(both: Tensor) -> Tensor:
        return gate_packed(name, both, accuracy="high").sum()

    both = torch.randn(5, 64, requires_grad=True)
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    wanted = torch.autograd.grad(f(both), both)[0]
    torch.testing.assert_close(torch.autograd.grad(compiled(both), both)[0], wanted, atol=0, rtol=0)


@every
def test_vmap(name: str) -> None:
    x = made(name, (6, 4, 9))
    wanted = op(name)(*x)
    for f in (op(name), native(name)):
        torch.testing.assert_close(torch.vmap(f, in_dims=1, out_dims=1)(*x), op(name)(*x), atol=1e-6, rtol=1e-5)
    if len(x) == 2:
        got = torch.vmap(op(name), in_dims=(0, None))(x[0], x[1][0])
        torch.testing.assert_close(got, op(name)(x[0], x[1][0].expand_as(x[0])), atol=0, rtol=0)
    torch.testing.assert_close(torch.vmap(op(name, "_high"), in_dims=1, out_dims=1)(*x), op(name)(*x, True))
    nested = torch.vmap(torch.vmap(op(name)))(*x)
    torch.testing.assert_close(nested, wanted, atol=0, rtol=0)


@every
@pytest.mark.parametrize("through", ["operator", "functional"])
def test_transforms_of_transforms(name: str, through: str) -> None:
    f = op(name) if through == "operator" else native(name)
    x = made(name, (6, 9))
    leaves = [each.double().requires_grad_() for each in x]
    wanted = torch.autograd.grad(get(name).torch(*leaves).sum(), leaves)[0]

    def loss(*each: Tensor) -> Tensor:
        return f(*each).sum()

    def close(got: Tensor, exact: Tensor) -> None:
        torch.testing.assert_close(got.double(), exact, atol=2e-6, rtol=1e-5)

    close(torch.vmap(torch.func.grad(loss))(*x), wanted)
    close(torch.func.grad(lambda *each: torch.vmap(f)(*each).sum())(*x), wanted)
    with torch.no_grad():
        close(torch.func.grad(loss)(*x), wanted)
    tangents = tuple(torch.ones_like(each) for each in x)
    exact = torch.func.jvp(get(name).torch, tuple(each.double() for each in x), tuple(t.double() for t in tangents))[1]
    close(torch.func.jvp(f, tuple(x), tangents)[1], exact)
    close(torch.func.jacfwd(loss)(*x), wanted)
    with forward_ad.dual_level():
        dual = [forward_ad.make_dual(each, torch.ones_like(each)) for each in x]
        close(forward_ad.unpack_dual(f(*dual)).tangent, exact)


@every
def test_meta_tensors(name: str) -> None:
    for f in (op(name), getattr(functional, name)):
        y = f(*(each.to("meta") for each in made(name, (3, 5))))
        assert (y.shape, y.device.type) == ((3, 5), "meta")


def derivatives(f: Callable[..., Tensor], leaves: list[Tensor], order: int) -> list[Tensor]:
    """Of the sum of squares of all derivatives of the order before."""
    y = f(*leaves)
    found = torch.autograd.grad(y.sum(), leaves, create_graph=True)
    for _ in range(order - 1):
        found = torch.autograd.grad(sum((each * each).sum() for each in found), leaves, create_graph=True)
    return [each.detach() for each in found]


@every
@pytest.mark.parametrize("order", [2, 3])
def test_further_derivatives(name: str, order: int) -> None:
    x = [1.5 * each for each in made(name, (40,))]
    exact = derivatives(get(name).torch, [each.double().requires_grad_() for each in x], order)
    for f in (op(name), native(name)):
        got = derivatives(f, [each.clone().requires_grad_() for each in x], order)
        for mine, wanted in zip(got, exact, strict=True):
            torch.testing.assert_close(mine.double(), wanted, atol=5e-5 * 10 ** (order - 2), rtol=1e-4)


@scalars
def test_second_derivatives_are_the_slopes_of_the_first(name: str) -> None:
    """In float64, where finite differences are good enough: what `gradgradcheck` would ask of a float64 operator."""
    x = torch.linspace(-6, 6, 61, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda t: torch.autograd.grad(get(name).torch(t).sum(), t, create_graph=True)[0], (x,)
    )
    slope = torch.autograd.grad(get(name).torch(x).sum(), x, create_graph=True)[0]
    wanted = torch.autograd.grad(slope.sum(), x)[0]
    torch.testing.assert_close(_second.SECOND[name](x.detach()), wanted, atol=1e-12, rtol=1e-9)


@every
def test_autocast_leaves_the_functions_alone(name: str) -> None:
    x = made(name, (3, 8))
    linear = torch.nn.Linear(8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert getattr(functional, name)(*x).dtype == torch.float32
        halves = [linear(each) for each in x]
        y = getattr(functional, name)(*halves)
        y.sum().backward()
        assert (y.dtype, linear.weight.grad is not None) == (torch.bfloat16, True)
        if len(x) == 2:
            with pytest.raises(GatewiseError) as error:
                getattr(functional, name)(x[0], halves[1])
            wanted = f"{name}: gate and up must have one dtype, got torch.float32 and torch.bfloat16"
            assert str(error.value) == wanted


def test_a_torch_without_the_private_names_gets_its_public_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_autograd, "PRIVATE", None)
    library = torch.library.Library("gatewise_test", "FRAGMENT")
    library.define("silu(Tensor x, bool high=False) -> Tensor")
    library.impl("silu", lambda x, high=False: torch.ops.gatewise.silu.no_grad(x, high), "CPU")
    mine: Any = torch.ops.gatewise_test.silu.default

    def gradient(grads: Any, inputs: Any, high: bool) -> tuple[Tensor]:
        return (torch.ops.gatewise.silu_backward(grads[0], inputs[0], high),)

    assert _autograd.differentiable(library, mine, 1, gradient) is None
    x = torch.randn(7, requires_grad=True)
    got = torch.autograd.grad(mine(x, True).sum(), x)[0]
    torch.testing.assert_close(got, torch.autograd.grad(op("silu")(x, True).sum(), x)[0], atol=0, rtol=0)


def test_a_torch_that_lacks_one_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _autograd._private() is not None
    monkeypatch.delattr(torch.autograd.function, "_SingleLevelFunction")
    assert _autograd._private() is None


@every
def test_a_hook_that_refuses_to_save_is_heard_and_run_once(name: str) -> None:
    seen: list[int] = []

    def pack(x: Tensor) -> Tensor:
        seen.append(1)
        if len(seen) == num:
            raise RuntimeError("pack failed")
        return x

    x = made(name, (40, 2048), grad=True)
    num = len(x)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x), pytest.raises(RuntimeError, match="pack failed"):
        getattr(functional, name)(*x)
    assert len(seen) == num


@every
@pytest.mark.parametrize("recorded", [False, True])
def test_a_graph_from_before_autograd_has_gradients(name: str, recorded: bool) -> None:
    """It is run by others with inputs of their own."""
    f = getattr(functional, name)
    x = made(name, (40, 2048), grad=True)
    traced = make_fx(lambda *x: f(*x, accuracy="default"), pre_dispatch=True)(
        *(x if recorded else [each.detach() for each in x])
    )
    wanted = torch.autograd.grad(f(*x).sum(), x)
    for got, slope in zip(torch.autograd.grad(traced(*x).sum(), x), wanted, strict=True):
        torch.testing.assert_close(got, slope, atol=0, rtol=0)
    if recorded:
        backward = make_fx(lambda *x: torch.autograd.grad(f(*x).sum(), x), pre_dispatch=True)(*x)
        for got, slope in zip(backward(*x), wanted, strict=True):
            torch.testing.assert_close(got, slope, atol=0, rtol=0)
            assert got.requires_grad
        twice = [
            torch.autograd.grad(sum(g.sum() for g in slopes), x)
            for slopes in (backward(*x), torch.autograd.grad(f(*x).sum(), x, create_graph=True))
        ]
        for got, slope in zip(*twice, strict=True):
            torch.testing.assert_close(got, slope, atol=1e-5, rtol=1e-5)


@every
def test_checkpoint_of_what_is_not_first(name: str) -> None:
    """Saved tensors are computed again while the gradient is asked for them, and that is recorded too."""
    x = made(name, (40, 2048), grad=True)

    def loss(*each: Tensor) -> Tensor:
        return getattr(functional, name)(*[t * 2 for t in each]).sum()

    wanted = torch.autograd.grad(loss(*x), x)
    again = torch.utils.checkpoint.checkpoint(loss, *x, use_reentrant=False)
    for got, each in zip(torch.autograd.grad(again, x), wanted, strict=True):
        torch.testing.assert_close(got, each, atol=0, rtol=0)
