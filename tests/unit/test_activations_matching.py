"""The width of a gated block: equal parameters, equal FLOPs, or unmatched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise import activations
from gatewise.activations import FeedForward, matched_hidden
from gatewise.core import GatewiseError

dims = st.integers(1, 300)
widths = st.integers(1, 1200)


def count(block: FeedForward) -> int:
    return sum(p.numel() for p in block.parameters())


def flops(dim: int, hidden: int, matrices: int, bias: bool) -> int:
    """For each token: 2 for a multiply-add, 1 for an activation, a product and a bias."""
    elementwise = hidden * (2 if matrices == 3 else 1)
    biases = hidden * (matrices - 1) + dim if bias else 0
    return 2 * matrices * dim * hidden + elementwise + biases


@given(dims, widths, st.booleans())
def test_params_gives_the_nearest_parameter_count(dim: int, scalar_hidden: int, bias: bool) -> None:
    hidden = matched_hidden(dim, scalar_hidden, "params", bias=bias)
    aim = count(FeedForward(dim, scalar_hidden, "gelu", bias=bias))

    def miss(width: int) -> int:
        return abs(count(FeedForward(dim, width, "swiglu", bias=bias)) - aim)

    assert miss(hidden) <= miss(hidden + 1)
    assert hidden == 1 or miss(hidden) <= miss(hidden - 1)


@given(dims, widths, st.booleans())
def test_flops_gives_the_nearest_flop_count(dim: int, scalar_hidden: int, bias: bool) -> None:
    hidden = matched_hidden(dim, scalar_hidden, "flops", bias=bias)
    aim = flops(dim, scalar_hidden, 2, bias)

    def miss(width: int) -> int:
        return abs(flops(dim, width, 3, bias) - aim)

    assert miss(hidden) <= miss(hidden + 1)
    assert hidden == 1 or miss(hidden) <= miss(hidden - 1)


@given(dims, widths, st.sampled_from(["params", "flops", "none"]), st.integers(2, 300), st.booleans())
def test_a_multiple_is_rounded_up(dim: int, scalar_hidden: int, matching: str, multiple: int, bias: bool) -> None:
    exact = matched_hidden(dim, scalar_hidden, matching, 1, bias)
    rounded = matched_hidden(dim, scalar_hidden, matching, multiple, bias)
    assert rounded % multiple == 0
    # `exact` is rounded to the nearest, the other way starts from the fraction dropped.
    assert exact - 1 <= rounded < exact + multiple


@pytest.mark.parametrize(
    ("dim", "multiple_of", "hidden"),
    # LLaMA 7B, 13B, 33B, 65B: 2/3 of 4 dim, up to a multiple of 256.
    [(4096, 256, 11008), (5120, 256, 13824), (6656, 256, 17920), (8192, 256, 22016), (768, 1, 2048), (384, 1, 1024)],
)
def test_known_widths(dim: int, multiple_of: int, hidden: int) -> None:
    assert matched_hidden(dim, 4 * dim, "params", multiple_of) == hidden


def test_none_is_the_scalar_width() -> None:
    assert matched_hidden(768, 3072, "none") == 3072
    assert FeedForward(12, matching="none").hidden == 48


def test_flops_and_params_differ_by_less_than_one_unit() -> None:
    for dim in (1, 2, 3, 64, 384, 768, 4096):
        assert 0 <= matched_hidden(dim, 4 * dim, "params") - matched_hidden(dim, 4 * dim, "flops") <= 1


@pytest.mark.parametrize("bias", [False, True])
def test_the_match_counts_biases(bias: bool) -> None:
    scalar = FeedForward(96, activation="relu", bias=bias)
    gated = FeedForward(96, activation="reglu", bias=bias)
    # Half a unit of the gated block is the nearest that a whole width can come.
    assert abs(count(scalar) - count(gated)) <= (3 * 96 + 2 * bias) / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8), "dim must be a whole number of at least 1, got 0"),
        ((-4, 8), "dim must be a whole number of at least 1, got -4"),
        ((8, 2.5), "scalar_hidden must be a whole number of at least 1, got 2.5"),
        ((True, 8), "dim must be a whole number of at least 1, got True"),
        ((8, 8, "params", 0), "multiple_of must be a whole number of at least 1, got 0"),
        ((8, 8, "param"), "unknown matching 'param'; did you mean 'params'?"),
    ],
)
def test_bad_input_is_named(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(GatewiseError) as error:
        matched_hidden(*arguments)
    assert str(error.value).splitlines()[0] == message
    assert activations.Matching.__args__ == ("params", "flops", "none")
