"""What users do to the functions and the choices that nobody planned for: refused in a line, or right."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import config
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import gatewise
from gatewise import activations, functional, kernels
from gatewise.core import GatewiseError
from gatewise.kernels import _choice, _choice_file

NATIVE = pytest.mark.skipif(kernels.status().path is None, reason="the native kernels are absent")
SCRIPTS = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
TRACES = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # the stock functions compare shapes as well


def inputs(name: str, *shape: int, grad: bool = False) -> list[Tensor]:
    count = 2 if activations.get(name).kind == "gate" else 1
    return [torch.randn(*shape, requires_grad=grad) for _ in range(count)]


@SCRIPTS
def test_out_refuses_what_forward_mode_would_lose() -> None:
    x, tangent = torch.randn(8), torch.randn(8)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, tangent)
        with pytest.raises(GatewiseError, match="no forward-mode derivative"):
            functional.silu(dual, out=torch.empty(8))
        assert torch.equal(functional.silu(x, out=torch.empty(8)), functional.silu(x))
    with pytest.raises(GatewiseError, match="no forward-mode derivative"):
        torch.func.jvp(lambda x: functional.silu(x, out=torch.empty(8)), (x,), (tangent,))


def test_out_of_another_limit_is_held_to_the_same_rules() -> None:
    gate, up = torch.randn(4), torch.randn(4)
    call = lambda out, gate=gate: functional.swiglu_clamped(gate, up, 3.0, out=out)  # noqa: E731
    with pytest.raises(GatewiseError, match=r"\[4\] of torch.float32, got \[5, 4\]"):
        call(torch.empty(5, 4))
    with pytest.raises(GatewiseError, match=r"got .* of torch\.bfloat16"):
        call(torch.empty(4, dtype=torch.bfloat16))
    with pytest.raises(GatewiseError, match="out must be a tensor, got str"):
        call("a")
    with pytest.raises(GatewiseError, match="records no gradient"):
        call(torch.empty(4), gate.clone().requires_grad_())
    out = torch.empty(4)
    assert call(out) is out
    assert torch.equal(out, activations.swiglu_clamped(gate, up, 3.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_out_that_overlaps_itself_is_refused_in_every_dtype(dtype: torch.dtype) -> None:
    with pytest.raises(GatewiseError, match="gelu: "):
        functional.gelu(torch.randn(10, dtype=dtype), out=torch.empty(1, dtype=dtype).expand(10))


settings: Any = config
negated: Any = torch._neg_view  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def test_out_takes_dense_tensors_and_those_that_torch_negates() -> None:
    x = torch.randn(3, 3)
    with pytest.raises(GatewiseError, match=r"dense tensors, got torch\.sparse_coo"):
        functional.gelu(x, out=torch.zeros(3, 3).to_sparse())
    with pytest.raises(GatewiseError, match=r"dense tensors, got torch\.sparse_coo"):
        functional.gelu(x.to_sparse(), out=torch.zeros(3, 3))
    behind = torch.empty(3, 3)
    functional.gelu(x, out=negated(behind))
    torch.testing.assert_close(-behind, functional.gelu(x))


@pytest.mark.parametrize("name", ["gelu", "swiglu"])
@pytest.mark.parametrize("grad", [False, True])
def test_more_dimensions_than_the_kernels_walk(name: str, grad: bool) -> None:
    given = inputs(name, *[1] * 15, 2, 3, 4, grad=grad)
    found = getattr(functional, name)(*given)
    expected = getattr(functional, name)(*(each.flatten() for each in given))
    assert found.shape == given[0].shape
    assert torch.equal(found.flatten(), expected)
    assert found.requires_grad is grad


def test_a_gate_of_a_tensor_made_in_inference_mode_is_torchs() -> None:
    with torch.inference_mode():
        gate = torch.randn(70000)
    up = torch.randn(70000, requires_grad=True)
    assert kernels.path("swiglu", gate, up).startswith("torch: ")
    functional.swiglu(gate, up).sum().backward()
    torch.testing.assert_close(up.grad, nn.functional.silu(gate.clone()))


def gradients(function: Callable[..., Tensor], given: list[Tensor]) -> tuple[Tensor, ...]:
    leaves = [each.clone().requires_grad_() for each in given]
    return torch.autograd.grad(function(*leaves).sum(), leaves)


@NATIVE
@SCRIPTS
@TRACES
@pytest.mark.parametrize("accuracy", ["default", "high"])
@pytest.mark.parametrize("name", kernels.FUNCTIONS)
def test_a_graph_recorded_without_a_gradient_has_one(name: str, accuracy: str) -> None:
    given = inputs(name, 40)
    call = lambda *x: kernels.FUNCTIONS[name](*x, accuracy=accuracy)  # noqa: E731  (without default arguments)
    with torch.no_grad():
        graph: Any = make_fx(call)(*given)
        traced: Any = torch.jit.trace(call, tuple(given))
    expected = gradients(activations.get(name).torch, given)
    torch.testing.assert_close(gradients(graph, given), expected)
    torch.testing.assert_close(gradients(traced, given), expected)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        return functional.swiglu(*self.linear(x).chunk(2, -1))


@SCRIPTS
@TRACES
def test_a_trace_with_a_gradient_is_the_trace_without() -> None:
    model, x = Gated(), torch.randn(9, 8)
    traced: Any = torch.jit.trace(model, torch.randn(4, 8))  # checks its graph by tracing again, without a gradient
    torch.testing.assert_close(traced(x), model(x))


def test_an_exported_program_needs_no_operator_of_ours() -> None:
    model, x = Gated(), torch.randn(9, 8)
    rows = torch.export.Dim("rows", min=2, max=100)
    program = torch.export.export(model, (torch.randn(4, 8),), dynamic_shapes={"x": {0: rows}})
    assert not [node for node in program.graph.nodes if "gatewise" in str(node.target)]
    torch.testing.assert_close(program.module()(x), model(x))


def test_sizes_that_depend_on_data_compile() -> None:
    def positive(x: Tensor) -> Tensor:
        return functional.swiglu(*x[x[:, 0] > 0].chunk(2, -1))

    with settings.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(positive, backend="aot_eager", fullgraph=True)
        for num_rows in (40, 3, 1):
            x = torch.randn(num_rows, 6)
            x[0, 0] = 1.0
            torch.testing.assert_close(compiled(x), positive(x))


KEY: dict[str, object] = {"rows": 256, "dtype": "float32", "threads": 1}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of choices, with one choice in it."""
    monkeypatch.setenv(_choice_file.FOLDER, str(tmp_path))
    kernels.forget()
    times = {"torch": 2.0, "onednn": 1.0}
    key = tuple(sorted(KEY.items()))
    choice = _choice_file.Choice(question="linear.forward", key=key, chosen="onednn", source="measured", times_s=times)  # pyright: ignore[reportArgumentType]
    _choice_file.store(choice)
    assert _choice.known("linear.forward", KEY) == "onednn"
    (path,) = tmp_path.glob("*.json")
    kernels.forget()
    yield path
    kernels.forget()


def changed(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["choices"][0].update(values)


@pytest.mark.parametrize(
    "change",
    [
        changed(key={"rows": [1]}),
        changed(key={"rows": None}),
        changed(key={"rows": {"a": 1}}),
        changed(key=[1]),
        changed(rounds=float("inf")),
        changed(rounds=float("nan")),
        changed(times_s={"torch": "x"}),
    ],
)
def test_a_file_of_nonsense_is_begun_anew(kept: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(kept.read_text())
    change(content)
    kept.write_text(json.dumps(content))
    assert _choice.known("linear.forward", KEY) is None
    assert "could not be read and is begun anew" in str(_choice_file.status().reason)


def test_a_file_nested_too_deep_is_begun_anew(kept: Path) -> None:
    kept.write_text("[" * 100_000)
    assert _choice.known("linear.forward", KEY) is None
    assert "begun anew" in str(_choice_file.status().reason)


def test_a_way_that_nobody_knows_is_not_taken_from_a_file(kept: Path) -> None:
    content = json.loads(kept.read_text())
    changed(chosen="gatwise", times_s={"torch": 1.0, "gatwise": 1e-9})(content)
    kept.write_text(json.dumps(content))
    assert _choice.known("linear.forward", KEY) is None


@SCRIPTS
def test_a_linear_layer_can_be_scripted() -> None:
    ours, x = gatewise.Linear(6, 5), torch.randn(3, 6)
    scripted: Any = torch.jit.script(nn.Sequential(ours, nn.ReLU()))
    assert torch.equal(scripted(x), ours(x).relu())
    with torch.no_grad():
        ours.weight.mul_(2)
    assert torch.equal(scripted(x), ours(x).relu())
