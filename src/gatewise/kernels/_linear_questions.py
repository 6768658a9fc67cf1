"""What a linear layer asks of `_choice`, and the candidates that answer it on random numbers of the layer's shape."""

from collections.abc import Callable

import torch
from torch import Tensor

from . import _choice, _products

MOST_ROWS = 4096
"""Rows beyond which the answer for this many is taken."""
MOST_WORK, MOST_NUMBERS = 2**33, 2**24
"""What one candidate may multiply at a call (0.1 to 0.2 s on one core), and how many numbers a matrix may have that a
call reads or makes beside the weight: a question must take neither the time nor the memory of a training step."""
MOST_BITS, FEWEST_BITS = (MOST_ROWS - 1).bit_length(), 4
ROWS_OF_A_PACK = 128
"""What weights are packed for: oneDNN has one order for a single row and one for more; a layer keeps the second."""


def rows_of(x: Tensor) -> int:
    """The rows of x[..., in] as a matrix."""
    return x.numel() // max(x.shape[-1], 1)


def ask(kind: str, rows: int, shape: tuple[int, ...], dtype: torch.dtype, *, summed: bool = False) -> str:
    """The way for `linear.<kind>`, kind one of `forward`, `by_input`, `by_weight`, `inference`; a weight of [out, in].

    `summed`: of many products, whose sum is turned once if at all.

    Rows are asked for as the next power of two, at most `MOST_ROWS`, and fewer where that would be more than
    `MOST_WORK` multiplications or `MOST_NUMBERS` of a matrix: a choice is measured for a size, not for a length.
    """
    threads = torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()
    size = min((rows - 1).bit_length(), MOST_BITS)
    place = (kind, size, shape, dtype, threads, precision, summed)
    found = _choice.recall(place)
    if found is not None:
        return found
    n_out, n_in = shape
    most = min(MOST_WORK // max(n_in * n_out, 1), MOST_NUMBERS // max(n_in, n_out, 1))
    size = min(size, max(most.bit_length() - 1, FEWEST_BITS))
    name = str(dtype).removeprefix("torch.")
    key: dict[str, object] = {"rows": 1 << size, "in": n_in, "out": n_out, "dtype": name, "threads": threads}
    if precision != "highest" and dtype == torch.float32:
        key["precision"] = precision
    if summed:
        key["summed"] = True
    question = f"linear.{kind}"
    found = _choice.known(question, key)
    if found is None:
        found = _choice.choose(question, key, _candidates(kind, key, dtype))
    return _choice.note(place, found)


def _candidates(kind: str, key: dict[str, object], dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    rows, n_in, n_out = (int(str(key[name])) for name in ("rows", "in", "out"))
    made: dict[str, Tensor] = {}

    def numbers(name: str, *shape: int) -> Tensor:
        if name not in made:  # made when it is first needed: most answers are known
            generator = torch.Generator(device="cpu").manual_seed(len(made))
            empty = torch.empty(shape, device="cpu", dtype=dtype, requires_grad=False)
            made[name] = empty.uniform_(-1, 1, generator=generator)
        return made[name]

    def packed() -> Tensor:
        if "packed" not in made:
            made["packed"] = _products.pack(numbers("weight", n_out, n_in), ROWS_OF_A_PACK)
        return made["packed"]

    def call(way: str) -> Callable[[], object]:
        if kind == "by_input":
            return lambda: _products.BY_INPUT[way](numbers("grad", rows, n_out), numbers("weight", n_out, n_in), None)
        if way == _products.TURNED and "summed" in key:
            return lambda: _products.by_weight_turned(numbers("grad", rows, n_out), numbers("x", rows, n_in).t())
        if kind == "by_weight":
            return lambda: _products.BY_WEIGHT[way](numbers("grad", rows, n_out), numbers("x", rows, n_in), None)
        if way == "packed":
            return lambda: _products.onednn(numbers("x", rows, n_in), packed(), None)
        return lambda: _products.FORWARD[way](numbers("x", rows, n_in), numbers("weight", n_out, n_in), None, None)

    ways = list(_products.available(dtype))
    if kind == "inference" and _products.packable(dtype):
        ways.append("packed")
    if kind == "by_weight" and dtype is torch.bfloat16 and len(ways) > 1:
        ways.append(_products.TURNED)
    return {way: call(way) for way in ways}
