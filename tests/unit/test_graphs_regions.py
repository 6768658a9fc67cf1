"""Activations and gates are found in a graph however they are written, and nothing else is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf, expit

from gatewise.activations import get, names
from gatewise.graphs import Constant, Graph, Kind, Left, Node, Site, find_sites

Array = NDArray[np.float64]

POINTWISE: dict[str, Callable[..., Array]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Pow": lambda a, b: a**b,
    "Max": np.maximum,
    "Min": np.minimum,
    "Greater": lambda a, b: (a > b).astype(np.float64),
    "Where": lambda c, a, b: np.where(c != 0, a, b),
    "Neg": np.negative,
    "Exp": np.exp,
    "Log": np.log,
    "Log1p": np.log1p,
    "Sqrt": np.sqrt,
    "Sin": np.sin,
    "Cos": np.cos,
    "Abs": np.abs,
    "Reciprocal": lambda a: 1 / a,
    "Erf": erf,
    "Tanh": np.tanh,
    "Sigmoid": expit,
    "Relu": lambda a: np.maximum(a, 0),
    "Clip": np.clip,
    "PRelu": lambda a, slope: np.where(a > 0, a, slope * a),
    "Softplus": lambda a: np.logaddexp(0, a),
    "Gelu": get("gelu").reference,
    "BiasGelu": lambda a, b: get("gelu").reference(a + b),
    "Silu": get("silu").reference,
}


class Build:
    """A graph, one operation after the other. Numbers become constants; values are named after their operation."""

    def __init__(self, dtype: str = "float32") -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Constant] = {}
        self.shapes: dict[str, tuple[int | None, ...]] = {"x": (2, 5, 8)}
        self.dtypes: dict[str, str] = {"x": dtype}
        self.dtype = dtype
        self.scope = ""

    def const(self, values: object, dtype: str | None = None) -> str:
        array = np.asarray(values, dtype=np.float16 if self.dtype == "float16" else np.float32)
        name = f"c{len(self.constants)}"
        self.constants[name] = Constant(name=name, shape=array.shape, dtype=dtype or self.dtype, load=lambda: array)
        return name

    def add(self, op: str, kind: Kind, *inputs: object, **attributes: object) -> str:
        names_of = tuple(one if isinstance(one, str) else self.const(one) for one in inputs)
        output = f"{op.lower()}_{len(self.nodes)}"
        path = f"{self.scope}/{op}_{len(self.nodes)}" if self.scope else ""
        evaluate = None if kind is not Kind.POINTWISE else lambda arrays: POINTWISE[op](*arrays)
        node = Node(op=op, path=path, inputs=names_of, output=output, kind=kind, evaluate=evaluate)
        self.nodes.append(replace(node, attributes=attributes))
        self.dtypes[output] = self.dtype
        before = next((name for name in names_of if name in self.shapes), None)
        if before and kind not in (Kind.REDUCE, Kind.OTHER):
            self.shapes[output] = self.shapes[before]
        return output

    def __getattr__(self, op: str) -> Callable[..., str]:
        if op not in POINTWISE:
            raise AttributeError(op)
        return lambda *inputs: self.add(op, Kind.POINTWISE, *inputs)

    def linear(self, x: str, width: int = 8, bias: bool = False) -> str:
        last = self.shapes[x][-1] or 8
        weight = self.const(np.arange(last * width, dtype=np.float64).reshape(last, width))
        y = self.add("MatMul", Kind.LINEAR, x, weight)
        self.shapes[y] = (*self.shapes[x][:-1], width)
        return self.Add(y, np.linspace(-1, 1, width)) if bias else y

    def part(self, x: str, index: int, count: int) -> str:
        y = self.add("Split", Kind.SELECT, x, part=(index, count))
        self.shapes[y] = (*self.shapes[x][:-1], (self.shapes[x][-1] or 8) // count)
        return y

    def graph(self, *outputs: str) -> Graph:
        return Graph(
            source="test",
            format="onnx",
            nodes=tuple(self.nodes),
            constants=self.constants,
            shapes=self.shapes,
            dtypes=self.dtypes,
            inputs=("x",),
            outputs=outputs,
        )

    def find(self, *outputs: str) -> tuple[list[Site], list[Left]]:
        return find_sites(self.graph(*outputs))

    def block(self, act: "Callable[[Build, str], str]") -> tuple[list[Site], list[Left]]:
        """act between two linear operations."""
        return self.find(self.linear(act(self, self.linear("x", 16)), 8))


def gelu_1(b: Build, x: str) -> str:
    return b.Mul(b.Mul(x, 0.5), b.Add(b.Erf(b.Div(x, math.sqrt(2))), 1.0))


def gelu_2(b: Build, x: str) -> str:
    return b.Mul(b.Mul(x, b.Add(1.0, b.Erf(b.Mul(math.sqrt(0.5), x)))), 0.5)


def gelu_3(b: Build, x: str) -> str:
    return b.Mul(x, b.Mul(0.5, b.Add(b.Erf(b.Mul(x, math.sqrt(0.5))), 1.0)))


def tanh_logit(b: Build, x: str, cube: str) -> str:
    return b.Mul(math.sqrt(2 / math.pi), b.Add(x, b.Mul(0.044715, cube)))


def gelu_tanh_1(b: Build, x: str) -> str:
    return b.Mul(b.Mul(0.5, x), b.Add(b.Tanh(tanh_logit(b, x, b.Pow(x, 3.0))), 1.0))


def gelu_tanh_2(b: Build, x: str) -> str:
    return b.Mul(x, b.Add(0.5, b.Mul(0.5, b.Tanh(tanh_logit(b, x, b.Mul(b.Mul(x, x), x))))))


def gelu_tanh_3(b: Build, x: str) -> str:
    inner = b.Mul(b.Mul(x, 0.7978845608), b.Add(1.0, b.Mul(b.Mul(0.044715, x), x)))
    return b.Mul(b.Mul(0.5, x), b.Add(1.0, b.Tanh(inner)))


def gelu_tanh_4(b: Build, x: str) -> str:
    return b.Mul(x, b.Sigmoid(b.Mul(2.0, tanh_logit(b, x, b.Pow(x, 3.0)))))


def sigmoid_2(b: Build, x: str) -> str:
    return b.Div(1.0, b.Add(1.0, b.Exp(b.Neg(x))))


def sigmoid_3(b: Build, x: str) -> str:
    return b.Mul(0.5, b.Add(1.0, b.Tanh(b.Mul(0.5, x))))


def softplus_2(b: Build, x: str) -> str:
    return b.Log(b.Add(1.0, b.Exp(x)))


def softplus_3(b: Build, x: str) -> str:
    return b.Add(b.Max(x, 0.0), b.Log1p(b.Exp(b.Neg(b.Abs(x)))))


def elu_2(b: Build, x: str) -> str:
    return b.Where(b.Greater(x, 0.0), x, b.Sub(b.Exp(x), 1.0))


def selu_1(b: Build, x: str) -> str:
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return b.Mul(scale, b.Add(b.Max(x, 0.0), b.Mul(alpha, b.Sub(b.Exp(b.Min(x, 0.0)), 1.0))))


# Every spelling of every scalar function of the table.
SPELLINGS: dict[str, list[Callable[[Build, str], str]]] = {
    "relu": [
        lambda b, x: b.Relu(x),
        lambda b, x: b.Max(0.0, x),
        lambda b, x: b.Mul(x, b.Greater(x, 0.0)),
        lambda b, x: b.Where(b.Greater(x, 0.0), x, 0.0),
        lambda b, x: b.Mul(0.5, b.Add(x, b.Abs(x))),
    ],
    "leaky_relu": [
        lambda b, x: b.Max(x, b.Mul(0.01, x)),
        lambda b, x: b.PRelu(x, 0.01),
        lambda b, x: b.Sub(b.Relu(x), b.Mul(0.01, b.Relu(b.Neg(x)))),
    ],
    "relu2": [
        lambda b, x: b.Pow(b.Relu(x), 2.0),
        lambda b, x: (lambda y: b.Mul(y, y))(b.Relu(x)),
        lambda b, x: b.Mul(x, b.Max(x, 0.0)),
    ],
    "elu": [elu_2, lambda b, x: b.Add(b.Max(x, 0.0), b.Sub(b.Exp(b.Min(x, 0.0)), 1.0))],
    "selu": [selu_1],
    "gelu": [gelu_1, gelu_2, gelu_3, lambda b, x: b.Gelu(x)],
    "gelu_tanh": [gelu_tanh_1, gelu_tanh_2, gelu_tanh_3, gelu_tanh_4],
    "quick_gelu": [
        lambda b, x: b.Mul(x, b.Sigmoid(b.Mul(1.702, x))),
        lambda b, x: b.Mul(sigmoid_2(b, b.Mul(1.702, x)), x),
    ],
    "silu": [
        lambda b, x: b.Mul(x, b.Sigmoid(x)),
        lambda b, x: b.Mul(sigmoid_2(b, x), x),
        lambda b, x: b.Div(x, b.Add(1.0, b.Exp(b.Neg(x)))),
        lambda b, x: b.Mul(b.Mul(0.5, x), b.Add(1.0, b.Tanh(b.Mul(x, 0.5)))),
    ],
    "mish": [
        lambda b, x: b.Mul(x, b.Tanh(b.Softplus(x))),
        lambda b, x: b.Mul(x, b.Tanh(softplus_2(b, x))),
    ],
    "hardswish": [
        lambda b, x: b.Mul(x, b.Div(b.Clip(b.Add(x, 3.0), 0.0, 6.0), 6.0)),
        lambda b, x: b.Div(b.Mul(x, b.Min(b.Relu(b.Add(x, 3.0)), 6.0)), 6.0),
        lambda b, x: b.Mul(x, b.Clip(b.Add(b.Mul(x, 1 / 6), 0.5), 0.0, 1.0)),
    ],
    "softplus": [lambda b, x: b.Softplus(x), softplus_2, softplus_3],
    "sigmoid": [
        lambda b, x: b.Sigmoid(x),
        sigmoid_2,
        lambda b, x: b.Reciprocal(b.Add(b.Exp(b.Neg(x)), 1.0)),
        sigmoid_3,
    ],
    "tanh": [
        lambda b, x: b.Tanh(x),
        lambda b, x: b.Sub(b.Mul(2.0, b.Sigmoid(b.Mul(2.0, x))), 1.0),
        lambda b, x: b.Sub(1.0, b.Div(2.0, b.Add(b.Exp(b.Mul(2.0, x)), 1.0))),
    ],
}
CASES = [(name, index) for name, spelled in SPELLINGS.items() for index in range(len(spelled))]


def identities(sites: Sequence[Site]) -> list[str | None]:
    return [site.found.name for site in sites]


def test_every_function_of_the_table_is_spelled_here() -> None:
    assert set(SPELLINGS) == set(names("scalar")) - {"identity"}


@pytest.mark.parametrize(("name", "index"), CASES)
def test_a_spelling_is_one_site_under_its_name(name: str, index: int) -> None:
    sites, left = Build().block(SPELLINGS[name][index])
    assert identities(sites) == [name]
    assert left == []
    site = sites[0]
    assert (site.kind, site.inputs, site.found.settings, site.found.reason) == ("scalar", ("matmul_0",), {}, "")
    x = np.linspace(-4, 4, 24).reshape(2, 12)
    np.testing.assert_allclose(site.evaluate([x]), get(name).reference(x), atol=1e-6)


# What may stand around an activation and is no part of it.
BEFORE: list[Callable[[Build, str], str]] = [
    lambda b, x: x,
    lambda b, x: b.Add(x, np.linspace(-1, 1, 16)),
    lambda b, x: b.Mul(x, np.linspace(0.5, 1, 16)),
    lambda b, x: b.add("Cast", Kind.CAST, x),
    lambda b, x: b.add("Dropout", Kind.COPY, x),
    lambda b, x: b.add("Reshape", Kind.RESHAPE, x),
    lambda b, x: b.add("Norm", Kind.NORM, x, np.ones(16)),
]
AFTER: list[Callable[[Build, str], str]] = [
    lambda b, x: x,
    lambda b, x: b.Mul(1.7, x),
    lambda b, x: b.Mul(x, np.linspace(0.5, 1, 16)),
    lambda b, x: b.add("Dropout", Kind.COPY, x),
    lambda b, x: b.add("Reshape", Kind.RESHAPE, x),
]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CASES),
    st.lists(st.sampled_from(BEFORE), max_size=3),
    st.lists(st.sampled_from(AFTER), max_size=2),
)
def test_any_spelling_between_anything_is_found(
    case: tuple[str, int], before: list[Callable[[Build, str], str]], after: list[Callable[[Build, str], str]]
) -> None:
    def act(b: Build, x: str) -> str:
        for step in before:
            x = step(b, x)
        x = SPELLINGS[case[0]][case[1]](b, x)
        for step in after:
            x = step(b, x)
        return x

    sites, left = Build().block(act)
    assert identities(sites) == [case[0]]
    assert left == []
    assert len(sites[0].weights) == 2


PERTURBED: dict[str, Callable[[Build, str, float], str]] = {
    "gelu": lambda b, x, k: b.Mul(b.Mul(x, 0.5), b.Add(b.Erf(b.Mul(x, k * math.sqrt(0.5))), 1.0)),
    "gelu, one": lambda b, x, k: b.Mul(b.Mul(x, 0.5), b.Add(b.Erf(b.Mul(x, math.sqrt(0.5))), k)),
    "gelu_tanh": lambda b, x, k: b.Mul(
        b.Mul(0.5, x),
        b.Add(1.0, b.Tanh(b.Mul(math.sqrt(2 / math.pi), b.Add(x, b.Mul(k * 0.044715, b.Pow(x, 3.0)))))),
    ),
    "gelu_tanh, outer": lambda b, x, k: b.Mul(
        b.Mul(0.5, x),
        b.Add(1.0, b.Tanh(b.Mul(k * math.sqrt(2 / math.pi), b.Add(x, b.Mul(0.044715, b.Pow(x, 3.0)))))),
    ),
    "quick_gelu": lambda b, x, k: b.Mul(x, b.Sigmoid(b.Mul(k * 1.702, x))),
    "silu": lambda b, x, k: b.Mul(x, b.Sigmoid(b.Mul(k, x))),
    "hardswish": lambda b, x, k: b.Mul(x, b.Div(b.Clip(b.Add(x, 3.0 * k), 0.0, 6.0), 6.0)),
    "mish": lambda b, x, k: b.Mul(x, b.Tanh(b.Mul(k, b.Softplus(x)))),
    "sigmoid": lambda b, x, k: b.Div(1.0, b.Add(k, b.Exp(b.Neg(x)))),
    "softplus": lambda b, x, k: b.Add(b.Max(x, 0.0), b.Log1p(b.Mul(k, b.Exp(b.Neg(b.Abs(x)))))),
}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(PERTURBED)),
    st.floats(0.01, 0.3),
    st.booleans(),
)
def test_a_constant_that_is_off_is_never_named_and_never_lost(name: str, away: float, up: bool) -> None:
    factor = 1 + away if up else 1 - away
    sites, _ = Build().block(lambda b, x: PERTURBED[name](b, x, factor))
    assert identities(sites) == [None]
    assert sites[0].found.reason
    assert sites[0].found.nearest is not None


@pytest.mark.parametrize("dtype", ["float16"])
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "quick_gelu", "silu", "hardswish", "leaky_relu"])
def test_constants_rounded_to_half_precision(name: str, dtype: str) -> None:
    for spelling in SPELLINGS[name]:
        sites, _ = Build(dtype).block(spelling)
        assert identities(sites) == [name]
        assert sites[0].dtype == dtype


def test_a_scalar_scale_before_is_apart() -> None:
    sites, _ = Build().block(lambda b, x: SPELLINGS["silu"][0](b, b.Mul(2.0, x)))
    assert identities(sites) == ["silu"]
    assert sites[0].inputs == ("mul_1",)


def test_two_in_a_row_are_two() -> None:
    sites, _ = Build().block(lambda b, x: b.Tanh(gelu_1(b, x)))
    assert identities(sites) == ["gelu", "tanh"]


def test_two_named_ones_are_two_even_where_one_clips_the_other() -> None:
    sites, _ = Build().block(lambda b, x: b.Relu(b.Silu(x)))
    assert identities(sites) == ["silu", "relu"]


def test_a_value_inside_that_is_also_read_elsewhere() -> None:
    b = Build()
    x = b.linear("x", 16)
    inner = b.Erf(b.Mul(x, math.sqrt(0.5)))
    act = b.Mul(b.Mul(x, 0.5), b.Add(inner, 1.0))
    sites, left = b.find(b.linear(act), inner)
    assert (identities(sites), left) == (["gelu"], [])


@pytest.mark.parametrize(
    ("act", "nearest", "recovered"),
    [
        (lambda b, x: b.Mul(x, b.Sigmoid(b.Mul(1.6, x))), "quick_gelu", {"beta": 1.6}),
        (lambda b, x: b.Clip(x, 0.0, 6.0), "relu", {"out_high": 6.0}),
        (lambda b, x: b.Min(b.Relu(x), 6.0), "relu", {"out_high": 6.0}),
        (lambda b, x: b.Clip(x, -1.0, 1.0), "tanh", {"low": -1.0, "high": 1.0}),
        (lambda b, x: b.Silu(b.Min(x, 7.0)), "silu", {"high": 7.0}),
        (lambda b, x: b.Clip(gelu_1(b, x), -10.0, 10.0), "gelu", {"out_high": 10.0}),
        (lambda b, x: b.Mul(x, b.Add(b.Erf(b.Mul(x, math.sqrt(0.5))), 1.0)), "gelu", {"scale": 2.0}),
    ],
)
def test_relatives_have_no_name_and_their_constants(
    act: Callable[[Build, str], str], nearest: str, recovered: dict[str, float]
) -> None:
    sites, left = Build().block(act)
    assert identities(sites) == [None]
    assert sites[0].found.nearest == nearest
    assert sites[0].found.settings == pytest.approx(recovered, rel=1e-6)
    assert left == []


def test_slopes_of_channels() -> None:
    def prelu(slopes: object) -> list[Site]:
        return Build().block(lambda b, x: b.PRelu(x, slopes))[0]

    assert identities(prelu(np.full(16, 0.01))) == ["leaky_relu"]
    same = prelu(np.full(16, 0.25))[0].found
    assert (same.name, same.settings) == ("leaky_relu", {"slope": 0.25})
    found = prelu(np.linspace(0.1, 0.3, 16))[0].found
    assert found.name is None
    assert "slope from 0.1 to 0.3" in found.reason


def test_a_factor_of_zero_hides_no_activation() -> None:
    sites, _ = Build().block(lambda b, x: b.Mul(0.0, gelu_1(b, x)))
    assert identities(sites) == ["gelu"]


def test_what_bends_nothing_as_a_whole_is_nothing() -> None:
    b = Build()
    x = b.linear("x")
    steady = b.Exp(b.Sub(x, b.Max(x, -1e38)))  # the first step of a recurrence that keeps its own maximum
    assert b.find(b.linear(steady)) == ([], [])
    b = Build()
    assert b.find(b.linear(b.Log(b.Exp(b.Mul(0.01, b.linear("x")))))) == ([], [])


def test_a_mask_of_constants_is_a_bias() -> None:
    b = Build()
    y = b.Add(b.linear("x"), np.where(np.arange(8) < 4, 0.0, -np.inf))
    assert b.find(y) == ([], [])


def test_a_fused_bias_is_apart() -> None:
    sites, _ = Build().block(lambda b, x: b.BiasGelu(x, np.linspace(-1, 1, 16)))
    assert identities(sites) == ["gelu"]
    assert sites[0].ops == ("BiasGelu (bias apart)",)
    assert sites[0].fused
    assert sites[0].parameters == 8 * 16 + 16 + 16 * 8
    assert float(sites[0].evaluate([np.array([0.0])])[0]) == 0.0


# Gates.


def gate_block(product: Callable[[Build, str, str], str], bias: bool = False, packed: bool = False) -> list[Site]:
    b = Build()
    if packed:
        both = b.linear("x", 32, bias=bias)
        gate, up = b.part(both, 1, 2), b.part(both, 0, 2)
    else:
        gate, up = b.linear("x", 16, bias=bias), b.linear("x", 16, bias=bias)
    return b.find(b.linear(product(b, gate, up), 8))[0]


def clamped(b: Build, gate: str, up: str, limit: float = 7.0, beta: float = 1.702) -> str:
    gate = b.Min(gate, limit)
    return b.Mul(b.Add(b.Clip(up, -limit, limit), 1.0), b.Mul(gate, b.Sigmoid(b.Mul(gate, beta))))


def interleaved(b: Build, gate: str, up: str) -> str:
    """geglu with the up projection in the middle of the gelu."""
    return b.Mul(b.Mul(b.Mul(gate, up), b.Add(b.Erf(b.Mul(gate, math.sqrt(0.5))), 1.0)), 0.5)


GATES: dict[str, tuple[Callable[[Build, str, str], str], str | None, dict[str, float]]] = {
    "swiglu": (lambda b, g, u: b.Mul(b.Silu(g), u), "swiglu", {}),
    "swiglu in three": (lambda b, g, u: b.Mul(u, b.Mul(g, b.Sigmoid(g))), "swiglu", {}),
    "swiglu, sigmoid last": (lambda b, g, u: b.Mul(b.Mul(g, u), b.Sigmoid(g)), "swiglu", {}),
    "swiglu, beta": (lambda b, g, u: b.Mul(b.Mul(g, b.Sigmoid(b.Mul(1.3, g))), u), "swiglu", {"beta": 1.3}),
    "geglu": (lambda b, g, u: b.Mul(gelu_1(b, g), u), "geglu", {}),
    "geglu, interleaved": (interleaved, "geglu", {}),
    "geglu_tanh": (lambda b, g, u: b.Mul(u, gelu_tanh_1(b, g)), "geglu_tanh", {}),
    "reglu": (lambda b, g, u: b.Mul(b.Relu(g), u), "reglu", {}),
    "glu": (lambda b, g, u: b.Mul(u, b.Sigmoid(g)), "glu", {}),
    "bilinear": (lambda b, g, u: b.Mul(u, g), "bilinear", {}),
    "clamped": (clamped, "swiglu_clamped", {}),
    "clamped at 5": (lambda b, g, u: clamped(b, g, u, 5.0), "swiglu_clamped", {"limit": 5.0}),
    "tanh": (lambda b, g, u: b.Mul(b.Tanh(g), u), None, {}),
    "clamp of up lost": (
        lambda b, g, u: b.Mul(b.Add(u, 1.0), b.Mul(b.Min(g, 7.0), b.Sigmoid(b.Mul(b.Min(g, 7.0), 1.702)))),
        None,
        {"high": 7.0, "up_offset": 1.0, "beta": 1.702},
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("case", GATES)
def test_a_gate_is_one_site(case: str, bias: bool, packed: bool) -> None:
    product, name, recovered = GATES[case]
    sites = gate_block(product, bias, packed)
    assert [(site.kind, site.found.name) for site in sites] == [("gate", name)]
    site = sites[0]
    assert dict(site.found.settings) == pytest.approx(recovered, rel=1e-5)
    # A bias stands before the parts of a packed projection, but between a projection of its own and the gate.
    expected = (1, 2) if packed else None
    if name != "bilinear":
        assert site.gate_part == expected
    assert len(site.feeding) == (1 if packed else 2)
    assert len(site.weights) == len(site.feeding) + 1
    assert site.parameters == 2 * 8 * 16 + 16 * 8 + (2 * 16 if bias else 0)
    assert site.flops == 2 * 5 * 3 * 8 * 16
    assert site.bytes == 4 * site.parameters
    assert site.width == 16
    if name and not recovered:
        rng = np.random.default_rng(0)
        gate, up = rng.normal(size=(2, 3, 4)) * 4
        np.testing.assert_allclose(site.evaluate([gate, up]), get(name).reference(gate, up), atol=1e-5)


def test_a_scaled_up_projection_is_still_a_gate() -> None:
    sites = gate_block(lambda b, g, u: b.Mul(b.Silu(g), b.Mul(0.5, u)))
    assert [(site.kind, site.found.name) for site in sites] == [("gate", "swiglu")]


def test_a_low_rank_adapter_on_both_projections() -> None:
    b = Build()

    def projection() -> str:
        return b.Add(b.linear("x", 16), b.Mul(2.0, b.linear(b.linear("x", 2), 16)))

    gate = b.Mul(b.Silu(projection()), projection())
    sites, _ = b.find(b.linear(gate, 8))
    assert [(site.kind, site.found.name) for site in sites] == [("gate", "swiglu")]
    assert len(sites[0].feeding) >= 2


# What is no gate.


def test_squeeze_and_excite_is_a_sigmoid() -> None:
    b = Build()
    x = b.linear("x", 16)
    pooled = b.add("Mean", Kind.REDUCE, x)
    b.shapes[pooled] = (2, 1, 16)
    gate = b.Sigmoid(b.linear(b.Relu(b.linear(pooled, 4)), 16))
    sites, left = b.find(b.linear(b.Mul(x, gate)))
    assert [(site.kind, site.found.name) for site in sites] == [("scalar", "relu"), ("scalar", "sigmoid")]
    assert left == []


def test_squeeze_and_excite_of_unknown_shapes() -> None:
    b = Build()
    x = b.linear("x", 16)
    gate = b.Sigmoid(b.linear(b.linear(x, 4), 16))
    y = b.Mul(x, gate)
    out = b.linear(y)
    b.shapes.clear()
    assert [(site.kind, site.found.name) for site in b.find(out)[0]] == [("scalar", "sigmoid")]


def test_lstm_products_are_scalars() -> None:
    b = Build()
    y = b.Mul(b.Sigmoid(b.linear("x")), b.Tanh(b.linear("x")))
    sites, _ = b.find(b.linear(y))
    assert sorted(str(site.found.name) for site in sites) == ["sigmoid", "tanh"]
    assert {site.kind for site in sites} == {"scalar"}


def test_attention_gating_is_a_sigmoid() -> None:
    b = Build()
    attended = b.add("MatMul", Kind.OTHER, b.linear("x"), b.linear("x"))
    sites, _ = b.find(b.Mul(attended, b.Sigmoid(b.linear("x"))))
    assert [(site.kind, site.found.name) for site in sites] == [("scalar", "sigmoid")]


def test_products_that_feed_no_projection_are_not_bilinear() -> None:
    b = Build()
    assert b.find(b.Mul(b.linear("x"), b.linear("x"))) == ([], [])


def test_products_of_projections_of_different_values_are_not_bilinear() -> None:
    b = Build()
    other = b.add("Other", Kind.OTHER, "x")
    b.shapes[other] = (2, 5, 8)
    assert b.find(b.linear(b.Mul(b.linear("x"), b.linear(other)))) == ([], [])


def test_an_exponential_of_a_projection_times_another_is_no_gate() -> None:
    b = Build()
    sites, left = b.find(b.linear(b.Mul(b.Exp(b.linear("x")), b.linear("x"))))
    assert sites == []
    assert [one.reason.split()[0] for one in left] == ["exp"]


# What is no activation.


def layer_norm(b: Build, x: str) -> str:
    mean = b.add("ReduceMean", Kind.REDUCE, x)
    centred = b.Sub(x, mean)
    variance = b.add("ReduceMean", Kind.REDUCE, b.Pow(centred, 2.0))
    return b.Add(b.Mul(b.Div(centred, b.Sqrt(b.Add(variance, 1e-5))), np.linspace(0.5, 1, 8)), np.linspace(0, 1, 8))


def test_pieces_of_a_norm_are_left() -> None:
    b = Build()
    sites, left = b.find(b.linear(layer_norm(b, b.linear("x"))))
    assert sites == []
    assert [one.ops for one in left] == [("Pow",), ("Sqrt",)]
    assert all(one.reason for one in left)


def test_a_clamped_variance_is_left() -> None:
    b = Build()
    x = b.linear("x")
    variance = b.add("ReduceVar", Kind.REDUCE, x)
    sites, left = b.find(b.Div(x, b.Sqrt(b.Relu(variance))))
    assert sites == []
    assert len(left) == 2


def test_a_clamped_variance_behind_a_reshape_is_left() -> None:
    b = Build()
    x = b.linear("x")
    variance = b.Sub(b.add("ReduceMean", Kind.REDUCE, b.Mul(x, x)), b.Pow(b.add("ReduceMean", Kind.REDUCE, x), 2.0))
    guarded = b.add("Unsqueeze", Kind.RESHAPE, b.Max(variance, 0.0))
    sites, _ = b.find(b.Div(x, b.Sqrt(guarded)))
    assert sites == []


@pytest.mark.parametrize("op", ["MaxPool", "GlobalAveragePool"])
def test_a_pooled_feature_is_no_statistic(op: str) -> None:
    b = Build()
    sites, left = b.find(b.Clip(b.add(op, Kind.REDUCE, b.linear("x")), 0.0, 6.0))
    assert [site.found.nearest for site in sites] == ["relu"]
    assert left == []


def test_a_clip_that_guards_a_logarithm_is_left() -> None:
    b = Build()
    sites, left = b.find(b.Log(b.Max(b.linear("x"), 1e-10)))
    assert sites == []
    assert [one.ops for one in left] == [("Max",), ("Log",)]


def test_pieces_of_a_root_mean_square_norm_are_left() -> None:
    b = Build()
    x = b.linear("x")
    mean = b.add("ReduceMean", Kind.REDUCE, b.Mul(x, x))
    scale = b.Reciprocal(b.Sqrt(b.Add(mean, 1e-6)))
    sites, left = b.find(b.linear(b.Mul(b.Mul(x, scale), np.linspace(0.5, 1, 8))))
    assert sites == []
    assert len(left) == 2


def test_pieces_of_a_softmax_are_left() -> None:
    b = Build()
    scores = b.Mul(b.add("MatMul", Kind.OTHER, b.linear("x"), b.linear("x")), 0.125)
    top = b.add("ReduceMax", Kind.REDUCE, scores)
    powers = b.Exp(b.Sub(scores, top))
    sites, left = b.find(b.Div(powers, b.add("ReduceSum", Kind.REDUCE, powers)))
    assert sites == []
    assert [one.ops for one in left] == [("Exp",)]


def test_a_rotary_embedding_has_no_sites() -> None:
    b = Build()
    angles = b.add("MatMul", Kind.OTHER, b.add("Range", Kind.OTHER, "x"), b.const(np.ones(4)))
    q = b.linear("x")
    turned = b.add("Concat", Kind.OTHER, b.Neg(b.part(q, 1, 2)), b.part(q, 0, 2))
    sites, left = b.find(b.Add(b.Mul(q, b.Cos(angles)), b.Mul(turned, b.Sin(angles))))
    assert sites == []
    assert sorted(one.ops for one in left) == [("Cos",), ("Sin",)]


def test_masks_have_no_sites() -> None:
    b = Build()
    scores = b.add("MatMul", Kind.OTHER, b.linear("x"), b.linear("x"))
    mask = b.add("Gather", Kind.OTHER, "x")
    b.dtypes[mask] = "int64"
    away = b.Mul(b.Sub(1.0, mask), -10000.0)
    kept = b.Where(b.Greater(mask, 0.0), scores, -1e9)
    distance = b.Max(mask, 0.0)
    sites, left = b.find(b.Add(kept, away), b.add("Gather", Kind.OTHER, distance))
    assert sites == []
    assert len(left) == 2


def test_residual_sums_are_never_part_of_a_site() -> None:
    b = Build()
    x = b.linear("x")
    h = b.Add(x, b.linear(b.Relu(b.linear(x))))
    inside = b.Add(h, gelu_1(b, h))
    sites, left = b.find(b.linear(inside))
    assert identities(sites) == ["relu", "gelu"]
    assert "add" not in sites[1].output
    assert left == []


def test_an_activation_of_a_residual_sum() -> None:
    b = Build()
    total = b.Add(b.linear("x"), "x")
    sites, left = b.find(b.linear(b.Clip(total, 0.0, 6.0)))
    assert [(site.found.name, site.found.nearest, site.inputs) for site in sites] == [(None, "relu", (total,))]
    assert left == []


def test_unnamed_arithmetic_that_comes_from_no_linear_operation_is_left() -> None:
    b = Build()
    sites, left = b.find(b.Div("x", b.Add(1.0, b.Abs("x"))))
    assert sites == []
    assert "no linear operation" in left[0].reason


def test_what_cannot_be_computed_is_left_with_its_operation() -> None:
    b = Build()
    b.nodes.append(Node(op="Strange", path="", inputs=(b.linear("x"),), output="y", kind=Kind.POINTWISE))
    sites, left = b.find("y")
    assert sites == []
    assert left == [Left(path="y", ops=("Strange",), output="y", reason="Strange cannot be computed here")]


def test_a_value_that_is_not_finite_has_no_name() -> None:
    sites, _ = Build().block(lambda b, x: b.Mul(x, b.Log(x)))
    assert identities(sites) == [None]
    assert sites[0].found.distance == math.inf
    assert "not finite" in sites[0].found.reason


# Places, dtypes, layers.


def test_paths_are_the_place_without_the_operation() -> None:
    b = Build()
    b.scope = "/encoder/layer.0/intermediate/act"
    x = gelu_1(b, b.linear("x"))
    b.scope = "/encoder/layer.1/act"
    y = b.Relu(b.linear(x))
    b.scope = ""
    z = b.Relu(b.linear(y))
    sites, _ = b.find(b.linear(z))
    assert [site.path for site in sites] == ["/encoder/layer.0/intermediate/act", "/encoder/layer.1/act", z]


@pytest.mark.parametrize("tail", ["Relu", "Relu_3", "node_Relu_3", "n4", "n4_2", "Mul_1"])
def test_names_that_exporters_give_to_operations_are_no_place(tail: str) -> None:
    b = Build()
    y = b.Relu(b.linear("x"))
    b.nodes[-1] = replace(b.nodes[-1], path=f"/mlp/act/{tail}")
    assert [site.path for site in b.find(y)[0]] == ["/mlp/act"]


def test_a_place_in_the_name_of_a_value_serves_where_operations_have_none() -> None:
    b = Build()
    x = b.linear("x")
    place = "/layer.0/act"
    name = f"{place}/Mul_1_output_0"
    for path in ("Gelu_AddBias_0", ""):
        node = Node(op="Gelu", path=path, inputs=(x,), output=name, kind=Kind.POINTWISE)
        b.nodes[1:] = [replace(node, evaluate=lambda arrays: get("gelu").reference(*arrays))]
        assert [site.path for site in b.find(name)[0]] == [place]


def test_two_sites_never_share_a_path() -> None:
    b = Build()
    b.scope = "/block"
    x = b.Relu(b.linear("x"))
    y = b.Relu(b.linear(x))
    sites, _ = b.find(b.linear(y))
    assert [site.path for site in sites] == [f"/block/{x}", f"/block/{y}"]


def test_common_parts_of_paths_are_whole() -> None:
    b = Build()
    x = b.linear("x")
    b.scope = "model.layers.1.act"
    inner = b.Sigmoid(x)
    b.scope = "model.layers.10.act"
    sites, _ = b.find(b.linear(b.Mul(x, inner)))
    assert [site.path for site in sites] == ["model.layers"]


def test_casts_inside_are_looked_through() -> None:
    b = Build("float16")
    x = b.linear("x")
    wide = b.add("Cast", Kind.CAST, x)
    gate = b.Sigmoid(wide)
    b.dtypes[wide] = b.dtypes[gate] = "float32"
    back = b.add("Cast", Kind.CAST, gate)
    y = b.Mul(x, back)
    sites, _ = b.find(b.linear(y))
    assert identities(sites) == ["silu"]
    assert (sites[0].dtype, sites[0].ops) == ("float16 float32", ("Sigmoid", "Mul"))


def test_quantised_pieces_are_looked_through() -> None:
    b = Build()
    x = b.linear("x")
    small = b.add("QuantizeLinear", Kind.CAST, b.Sigmoid(x), 0.1, 0.0)
    b.dtypes[small] = "int8"
    y = b.Mul(x, b.add("DequantizeLinear", Kind.CAST, small, 0.1, 0.0))
    sites, _ = b.find(b.linear(y))
    assert [(site.found.name, site.dtype) for site in sites] == [("silu", "float32")]


def test_a_gate_quantised_at_run_time() -> None:
    b = Build()
    scale = b.add("DynamicQuantizeLinear", Kind.REDUCE, "x")
    b.shapes[scale] = ()

    def projection(x: str) -> str:
        y = b.linear(x, 8)
        b.dtypes[y] = "int32"
        return b.Mul(b.add("Cast", Kind.CAST, y), b.Mul(scale, 0.1))

    small = b.add("DynamicQuantizeLinear", Kind.CAST, "x")
    product = b.Mul(b.Silu(projection(small)), projection(small))
    sites, left = b.find(b.Add(projection(product), np.linspace(0, 1, 8)))
    assert [(site.kind, site.found.name) for site in sites] == [("gate", "swiglu")]
    assert len(sites[0].weights) == 3
    assert sites[0].parameters == 3 * 8 * 8 + 8
    assert left == []


def test_a_gate_of_experts_with_biases_of_their_own() -> None:
    b = Build()

    def projection(x: str, width: int) -> str:
        return b.Add(b.linear(x, width), b.add("Gather", Kind.OTHER, np.ones((4, width)), "chosen"))

    both = projection("x", 32)
    product = clamped(b, b.part(both, 0, 2), b.part(both, 1, 2))
    sites, left = b.find(projection(product, 8))
    assert [(site.kind, site.found.name, site.gate_part) for site in sites] == [("gate", "swiglu_clamped", (0, 2))]
    assert sites[0].parameters == 8 * 32 + 4 * 32 + 16 * 8 + 4 * 8
    assert left == []


def test_convolutions_count_their_pixels() -> None:
    b = Build()
    b.shapes["x"] = (1, 3, 32, 32)
    y = b.add("Conv", Kind.LINEAR, "x", np.zeros((16, 3, 3, 3)) + np.arange(3), np.arange(16))
    b.shapes[y] = (1, 16, 30, 30)
    sites, _ = b.find(b.Relu(y))
    assert (sites[0].parameters, sites[0].flops, sites[0].width) == (16 * 27 + 16, 2 * 16 * 27 * 900, 16)


@pytest.mark.parametrize("values", [np.zeros(16), np.ones(16), np.arange(16.0)])
def test_biases_count_whatever_their_values(values: Array) -> None:
    b = Build()
    y = b.Relu(b.Add(b.linear("x", 16), values))
    sites, _ = b.find(b.Add(b.linear(y, 8), np.zeros(8)))
    assert sites[0].parameters == 8 * 16 + 16 + 16 * 8 + 8
    b = Build()
    scaled, _ = b.find(b.linear(b.Mul(b.Relu(b.Mul(b.linear("x", 16), np.ones(16))), values), 8))
    assert scaled[0].parameters == 2 * 8 * 16


def test_shared_weights_count_once() -> None:
    b = Build()
    weight = b.const(np.arange(64.0).reshape(8, 8))
    gate, up = (b.add("MatMul", Kind.LINEAR, "x", weight) for _ in range(2))
    sites, _ = b.find(b.add("MatMul", Kind.LINEAR, b.Mul(b.Silu(gate), up), weight))
    assert (sites[0].weights, sites[0].parameters, sites[0].flops) == ((weight,), 64, 3 * 2 * 64 * 5)


def test_folded_and_quantised_weights_are_known_as_stored() -> None:
    b = Build()
    weight = b.const(np.arange(64).reshape(8, 8), "int8")
    dequantised = b.add("DequantizeLinear", Kind.CAST, weight, 0.1, 0.0)
    sites, _ = b.find(b.Relu(b.add("MatMul", Kind.LINEAR, "x", dequantised)))
    assert (sites[0].weights, sites[0].parameters, sites[0].bytes) == ((weight,), 64, 64)


def test_unknown_shapes_are_no_obstacle() -> None:
    b = Build()
    gate, up = b.linear("x", 16), b.linear("x", 16)
    out = b.linear(b.Mul(b.Silu(gate), up), 8)
    b.shapes.clear()
    sites, _ = b.find(out)
    assert (sites[0].found.name, sites[0].width, sites[0].flops) == ("swiglu", None, 2 * 3 * 8 * 16)


def test_a_deep_model_is_read_whole() -> None:
    b = Build()
    x = "x"
    for layer in range(24):
        b.scope = f"/layer.{layer}"
        x = b.Add(x, b.linear(gelu_tanh_2(b, b.linear(layer_norm(b, x), 16, bias=True)), bias=True))
        x = b.Add(x, b.linear(b.Mul(b.Silu(b.linear(layer_norm(b, x), 16)), b.linear(layer_norm(b, x), 16))))
    sites, left = b.find(x)
    assert identities(sites) == ["gelu_tanh", "swiglu"] * 24
    assert len({site.path for site in sites}) == 48
    assert len(left) == 24 * 3 * 2


def test_the_record_is_plain_data() -> None:
    import json

    sites, _ = Build().block(gelu_1)
    record = json.loads(json.dumps(sites[0].to_json()))
    assert (record["identity"], record["fused"], record["flops"]) == ("gelu", False, 2 * 2 * 8 * 16 * 5)
