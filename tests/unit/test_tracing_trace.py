"""The trace of a live model: kinds, places, constants, writes."""

import threading
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from gatewise.core import GatewiseError
from gatewise.graphs import Graph, Kind, Node
from gatewise.tracing import observe, trace


def traced(model: nn.Module, *inputs: Tensor) -> Graph:
    return trace(model, lambda: model(*inputs)).graph


class Forward(nn.Module):
    """A Linear of 8 to 16, then a function of its output."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.up = nn.Linear(8, 16)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.up(x))  # type: ignore[operator]


def of_kind(graph: Graph, kind: Kind) -> list[Node]:
    return [node for node in graph.nodes if node.kind is kind]


POINTWISE = [
    nn.ReLU(), nn.LeakyReLU(), nn.ReLU6(), nn.ELU(), nn.SELU(), nn.CELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(),
    nn.Mish(), nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(), nn.Softplus(), nn.Sigmoid(), nn.Tanh(), nn.LogSigmoid(),
    nn.Softshrink(), nn.Hardshrink(), nn.Threshold(0.1, 2.0), nn.RReLU(), nn.PReLU(),
    nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.Hardswish(inplace=True), nn.ELU(inplace=True),
    nn.Hardtanh(inplace=True), nn.LeakyReLU(inplace=True),
]  # fmt: skip


@pytest.mark.parametrize("module", POINTWISE, ids=str)
def test_activation_is_one_pointwise_node_that_computes_it(module: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(8, 8), module)
    graph = traced(model, torch.randn(3, 8))
    found = of_kind(graph, Kind.POINTWISE)
    assert [node.path for node in found] == ["1"]
    assert found[0].evaluate is not None
    x = np.linspace(-6, 6, 101)
    rest = [graph.constants[name].load().reshape(-1) for name in found[0].inputs[1:]]
    got = found[0].evaluate([x, *rest])
    with torch.no_grad():
        expected = module.double().eval()(torch.from_numpy(x.copy())).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-7, atol=0)  # the constants of RReLU and PReLU are float32


def test_glu_is_two_selects_and_one_function() -> None:
    graph = traced(nn.Sequential(nn.Linear(8, 16), nn.GLU()), torch.randn(3, 8))
    selects, (glu,) = of_kind(graph, Kind.SELECT), of_kind(graph, Kind.POINTWISE)
    assert [node.attributes["part"] for node in selects] == [(0, 2), (1, 2)]
    assert glu.inputs == tuple(node.output for node in selects)
    a, b = np.array([1.0, -2.0, 1e300]), np.array([0.5, 3.0, -800.0])
    assert glu.evaluate is not None
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(glu.evaluate([a, b]), a / (1 + np.exp(-b)), rtol=1e-12)


@given(st.floats(-1e3, 1e3), st.floats(0.1, 3.0))
def test_python_numbers_keep_double_precision(x: float, beta: float) -> None:
    graph = traced(Forward(lambda h: h * torch.sigmoid(beta * h)), torch.ones(1, 8))
    inner = of_kind(graph, Kind.POINTWISE)[0]
    assert inner.evaluate is not None
    assert inner.evaluate([np.array([x])])[0] == x * beta


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (lambda h: h.chunk(2, -1)[1], [(0, 2), (1, 2)]),
        (lambda h: h.split([4, 12], -1)[1], [(0, 4), None]),
        (lambda h: h.split([8, 4, 4], -1)[2], [(0, 2), (2, 4), (3, 4)]),
        (lambda h: h[..., 8:], [(1, 2)]),
        (lambda h: h[..., -4:], [(3, 4)]),
        (lambda h: h[..., 3:], [None]),
        (lambda h: h[..., 1::2], [(1, 2)]),
        (lambda h: h.unflatten(-1, (2, 8)).unbind(-2)[0], [(0, 2), (1, 2)]),
        (lambda h: h.view(-1, 2, 8)[:, 1], [(1, 2)]),
        (lambda h: h.narrow(-1, 8, 8), [(1, 2)]),
    ],
)
def test_parts(function: object, parts: list[object]) -> None:
    graph = traced(Forward(function), torch.randn(3, 8))
    selects = [node for node in of_kind(graph, Kind.SELECT) if "axis" in node.attributes]
    assert [node.attributes.get("part") for node in selects] == parts


def test_every_second_value_is_a_part_of_its_own_sort() -> None:
    graph = traced(Forward(lambda h: h[..., 1::2] * h[..., 8:]), torch.randn(3, 8))
    selects = [node for node in of_kind(graph, Kind.SELECT) if "part" in node.attributes]
    assert [node.attributes.get("interleaved", False) for node in selects] == [True, False]
    assert [node.attributes["part"] for node in selects] == [(1, 2), (1, 2)]


def test_linear_knows_parameters_through_views_and_casts() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 4))
            self.packed = nn.Parameter(torch.randn(8, 4))

        def forward(self, x: Tensor) -> Tensor:
            a = x @ self.weight.data.t().contiguous().t()
            b = x @ self.weight.double().float()
            c = torch.einsum("bi,io->bo", x, self.weight)
            return a + b + c + x @ self.packed[:, :4] + (x @ x.t()) @ self.weight[:2]

    graph = traced(Odd(), torch.randn(2, 8))
    linear = of_kind(graph, Kind.LINEAR)
    assert [node.inputs[1] for node in linear][:3] == ["weight", "weight", "weight"]
    assert len(linear) == 5
    assert [node.op for node in of_kind(graph, Kind.OTHER)] == ["aten.mm.default"]  # two activations


def test_write_through_another_view_gives_an_unknown_value() -> None:
    def write(h: Tensor) -> Tensor:
        h = functional.relu(h)
        h[:, :8] = 1.0
        return h * 2

    graph = traced(Forward(write), torch.randn(3, 8))
    last = graph.nodes[-1]
    root = graph.producer[last.inputs[0]]
    assert (root.kind, root.inputs) == (Kind.OTHER, ())


def test_write_to_one_half_leaves_the_other_known() -> None:
    def gate(h: Tensor) -> Tensor:
        a, b = h.chunk(2, -1)
        return functional.silu(a, inplace=True) * b

    graph = traced(Forward(gate), torch.randn(3, 8))
    product = graph.nodes[-1]
    assert [graph.producer[name].kind for name in product.inputs] == [Kind.POINTWISE, Kind.SELECT]


def test_module_called_twice_has_a_number() -> None:
    act = nn.Tanh()
    graph = traced(nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act), torch.randn(1, 4))
    assert [node.path for node in of_kind(graph, Kind.POINTWISE)] == ["1", "1#2"]


def test_encoder_layer_hides_nothing() -> None:
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True), 2, enable_nested_tensor=False
    )
    graph = traced(model.eval(), torch.randn(2, 5, 16))
    gelus = [node for node in graph.nodes if node.op == "aten.gelu.default"]
    assert [node.path for node in gelus] == ["layers.0", "layers.1"]
    assert torch.backends.mha.get_fastpath_enabled()


def test_modes_are_put_back_and_dropout_is_off() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9), nn.ReLU())
    model[0].eval()
    graph = traced(model, torch.randn(2, 4))
    assert [module.training for module in model] == [False, True, True]
    assert not any("dropout" in node.op or "bernoulli" in node.op for node in graph.nodes)


def test_inference_mode_shows_the_same_functions() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4))
    x = torch.randn(2, 4)

    @torch.inference_mode()
    def call() -> Tensor:
        return model(x)

    kinds = {node.kind for node in trace(model, call).graph.nodes}
    assert {Kind.LINEAR, Kind.POINTWISE, Kind.NORM} <= kinds


def test_autocast_dtypes_and_casts() -> None:
    model = Forward(functional.silu)

    def call() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(torch.randn(2, 8))

    graph = trace(model, call).graph
    (linear,) = of_kind(graph, Kind.LINEAR)
    assert graph.dtypes[linear.output] == "bfloat16"
    assert linear.inputs[1:] == ("up.weight", "up.bias")
    assert graph.dtypes[of_kind(graph, Kind.POINTWISE)[0].output] == "bfloat16"


def test_script_and_frozen_script() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(model)
        frozen = torch.jit.freeze(script)
    for scripted in (script, frozen):
        graph = traced(scripted, torch.randn(2, 4))
        assert len(of_kind(graph, Kind.LINEAR)) == 2
        assert [node.op for node in of_kind(graph, Kind.POINTWISE)] == ["aten.gelu.default"]


def test_own_autograd_function_and_own_operation() -> None:
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x * torch.sigmoid(1.6 * x)

        @staticmethod
        def backward(ctx: object, *grads: Tensor) -> Tensor:
            return grads[0]

    @torch.library.custom_op("gatewise_test::bend", mutates_args=())
    def bend(x: Tensor) -> Tensor:
        return torch.tanh(x) * x

    @torch.library.custom_op("gatewise_test::mix", mutates_args=())
    def mix(x: Tensor) -> Tensor:
        return x.flip(-1).contiguous()

    graph = traced(Forward(lambda h: mix(bend(Own.apply(h)))), torch.randn(2, 8))
    kinds = {node.op: node.kind for node in graph.nodes}
    assert kinds["aten.sigmoid.default"] is Kind.POINTWISE
    assert kinds["gatewise_test.bend.default"] is Kind.POINTWISE
    assert kinds["gatewise_test.mix.default"] is Kind.OTHER


def test_keyword_inputs_are_inputs_and_not_constants() -> None:
    class Keywords(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.tensor(0.044715)
            self.up = nn.Linear(4, 4)

        def forward(self, *, x: Tensor, scale: Tensor) -> Tensor:
            return self.up(x) * scale * self.table * torch.tensor(0.5)

    model = Keywords()
    graph = trace(model, lambda: model(x=torch.ones(2, 4), scale=torch.ones(2, 4))).graph
    assert graph.inputs == ("scale", "x")
    assert graph.constants["table"].load() == np.float32(0.044715)
    assert graph.constants["constant"].load() == 0.5


def test_names_are_unique_and_every_input_is_made_somewhere() -> None:
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    graph = traced(model, torch.randn(2, 5, 16))
    outputs = [node.output for node in graph.nodes]
    assert len(set(outputs)) == len(outputs)
    made = {*graph.inputs, *graph.constants}
    for node in graph.nodes:
        assert set(node.inputs) <= made
        made.add(node.output)
    assert set(graph.outputs) <= made


def test_failing_model_names_the_module() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(5, 4)))
    with pytest.raises(GatewiseError, match=r"mine: the model fails in 1\.1: RuntimeError"):
        trace(model, lambda: model(torch.randn(2, 4)), source="mine")
    assert all(module.training for module in model.modules())


def test_observe_names_hold_for_other_batches() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU())
    graph = traced(model, torch.randn(1, 4))
    name = of_kind(graph, Kind.POINTWISE)[0].inputs[0]
    batches = [torch.randn(3, 4), torch.randn(7, 4)]
    rows: list[np.ndarray] = []
    observe(model, [lambda batch=batch: model(batch) for batch in batches], {name: rows.append})
    with torch.no_grad():
        expected = [model[0](batch).double().numpy() for batch in batches]
    assert [row.shape for row in rows] == [(3, 4), (7, 4)]
    for got, want in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_what_another_thread_runs_is_none_of_ours() -> None:
    model, other = (
        nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)),
        nn.Sequential(nn.Linear(8, 8), nn.Tanh()),
    )
    x, stop, runs = torch.randn(2, 8), threading.Event(), [0]

    def serving() -> None:
        while not stop.is_set():
            other(x)
            runs[0] += 1

    alone = [(node.path, node.kind) for node in traced(model, x).nodes]
    thread = threading.Thread(target=serving)
    thread.start()
    try:
        beside, met = [], 0
        for _ in range(3000):
            before = runs[0]
            beside.append([(node.path, node.kind) for node in traced(model, x).nodes])
            met += runs[0] > before
            if met == 10:
                break
    finally:
        stop.set()
        thread.join()
    assert met == 10
    assert all(each == alone for each in beside)
