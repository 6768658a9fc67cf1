"""How wide a gated block must be to cost what a scalar block costs."""

from typing import Literal, cast, get_args

from gatewise.core import GatewiseError, unknown_name

Matching = Literal["params", "flops", "none"]


def check_matching(matching: str) -> Matching:
    """`matching` itself when it is known. Raises `GatewiseError` otherwise."""
    if matching not in get_args(Matching):
        raise unknown_name("matching", matching, get_args(Matching))
    return cast(Matching, matching)


def check_size(name: str, value: object) -> int:
    """`value` when it is a positive whole number. Raises `GatewiseError` that names it otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GatewiseError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def matched_hidden(
    dim: int, scalar_hidden: int, matching: str = "params", multiple_of: int = 1, bias: bool = False
) -> int:
    """The hidden width of a gated block (three matrices) that stands in for a scalar one (two matrices).

    - `params`: equal parameters. A scalar block has h (2d + b) + d b of them and a gated one g (3d + 2b) + d b, where
      b is 1 with biases and 0 without, so g = h (2d + b) / (3d + 2b): two thirds of h without biases.
    - `flops`: equal FLOPs for each token. A multiply-add counts as 2; an activation, a product and a bias count as 1
      for each element. That is h (4d + 1 + b) against g (6d + 2 + 2b): two thirds of h, less a fraction of one unit.
    - `none`: g = h, which is not matched: the gated block is then half as big again.

    With `multiple_of=1` the width is the nearest whole number. With more it is rounded **up** to a multiple, as LLaMA
    does it (the fraction is dropped first): 4096 with `multiple_of=256` gives 11008. `none` is rounded up as well.

    Raises `GatewiseError` for an unknown matching or a size that is not a positive whole number.
    """
    matching = check_matching(matching)
    dim = check_size("dim", dim)
    scalar_hidden = check_size("scalar_hidden", scalar_hidden)
    multiple_of = check_size("multiple_of", multiple_of)
    b = int(bias)
    if matching == "params":
        top, bottom = scalar_hidden * (2 * dim + b), 3 * dim + 2 * b
    elif matching == "flops":
        top, bottom = scalar_hidden * (4 * dim + 1 + b), 6 * dim + 2 + 2 * b
    else:
        top, bottom = scalar_hidden, 1
    if multiple_of == 1:
        return max(1, (2 * top + bottom) // (2 * bottom))
    return max(1, -(-(top // bottom) // multiple_of)) * multiple_of
