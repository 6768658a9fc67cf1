"""Products by panels part by part; and the block by them: to the bit, in memory, on any threads, on what it refuses."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_kernels_fuzz import every_path, rounds_are_sound
from test_kernels_panels import GATES, NAMES, block, far, numbers, parts_of
from torch import Tensor

import gatewise
from gatewise import activations, kernels
from gatewise.kernels import _choice, _panels
from gatewise.kernels._observed import paths, using

pytestmark = pytest.mark.skipif(kernels.status().path is None, reason="the native kernels are absent")
DTYPES = (torch.float32, torch.bfloat16)
ROUNDS = 400
ABSENT = "tensors of float32 expected, or of bfloat16 where the processor has AMX"
NONE = torch.empty(0)


@pytest.fixture(autouse=True)
def _remembers_nothing() -> Iterator[None]:
    """A way that one block had to take is not remembered for another of the same sizes, here or in other tests."""
    _choice.forget()
    yield
    _choice.forget()


def panel_block(*arguments: Any, **named: Any) -> Tensor:
    op: Any = torch.ops.gatewise.panel_block
    return op(*arguments, **named)


@every_path
def test_parts_change_their_own_numbers_only_and_are_what_the_whole_is(path: str, tmp_path: Path) -> None:
    rounds_are_sound(tmp_path, "rounds", path, ROUNDS, script="kernel_panel_parts.py")


def has_panels(dtype: torch.dtype) -> None:
    if not _panels.available(dtype):
        pytest.skip(f"no panels of {dtype} here")


def mixed(rows: int, cols: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers of every size."""
    scales = torch.tensor([0.01, 1.0, 4.0, 4.0, 30.0, 1e4, 1e-38, 1e-44])
    return (scales[torch.arange(rows) % 8][:, None] * numbers(rows, cols)).to(dtype)


def picking(name: str, size: int, biases: tuple[Tensor | None, ...], dtype: torch.dtype) -> list[Any]:
    """Weights of a block whose products only pick: x, of a gate also x with its columns turned round."""
    eye = torch.eye(size, dtype=dtype)
    return [eye, biases[0], *([eye.flip(1), biases[1]] if name in GATES else []), eye, biases[2]]


def picked(name: str, x: Tensor, biases: tuple[Tensor | None, ...], *, high: bool) -> tuple[Tensor, Tensor]:
    """What such a block is by the function's own kernel, and what that is multiplied by."""
    inputs = [x if bias is None else x + bias for x, bias in zip((x, x.flip(1)), biases, strict=False)]
    up = inputs[1] if name in GATES else torch.zeros(())
    found = getattr(torch.ops.gatewise, name)(*inputs[: 1 + (name in GATES)], high)
    return (found if biases[2] is None else found + biases[2]), 1 + up.abs()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", paths())
def test_by_weights_that_only_pick_the_block_is_the_function_to_the_bit(path: str, name: str) -> None:
    """At both accuracies, at each place of a panel, with any of the biases."""
    with using(path):
        for rows, size in ((1, 1), (37, 45), (144, 16), (15, 33)):
            x, some = mixed(rows, size), [numbers(size, seed=seed) for seed in (1, 2, 3)]
            for which in range(8):
                biases = tuple(bias if which >> i & 1 else None for i, bias in enumerate(some))
                for high in (False, True):
                    got = block(name, x, picking(name, size, biases, x.dtype), high=high)
                    assert torch.equal(got, picked(name, x, biases, high=high)[0]), (rows, size, which, high)


@pytest.mark.parametrize("name", ["gelu", "silu", "swiglu"])
def test_the_two_accuracies_differ(name: str) -> None:
    """So that the test above sees the one taken for the other."""
    x, parts = mixed(80, 45), picking(name, 45, (None, None, None), torch.float32)
    for path in paths():
        with using(path):
            same = torch.equal(block(name, x, parts), block(name, x, parts, high=True))
        assert not same or path == "plain"


@pytest.mark.parametrize("name", NAMES)
def test_in_bfloat16_it_is_the_function_of_float32_rounded_once(name: str) -> None:
    has_panels(torch.bfloat16)
    for rows, size in ((1, 1), (37, 45), (144, 16), (15, 33)):
        x = mixed(rows, size, torch.bfloat16)
        some = [numbers(size, seed=seed).bfloat16() for seed in (1, 2, 3)]
        for which in range(8):
            biases = tuple(bias if which >> i & 1 else None for i, bias in enumerate(some))
            got = block(name, x, picking(name, size, biases, x.dtype)).double()
            wide = tuple(None if bias is None else bias.float() for bias in biases)
            hidden, up = picked(name, x.float(), (*wide[:2], None), high=True)
            want = hidden.double() + (0 if wide[2] is None else wide[2])
            once = 2.0**-8 * (want.abs() + (0 if wide[2] is None else 1.01 * hidden.abs()))
            assert bool(((got - want).abs() <= 1.01 * once + 4e-7 * up).all()), (rows, size, which)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("path", paths())
def test_threads_change_no_bit_where_every_pass_is_shared_out(path: str, dtype: torch.dtype) -> None:
    """So wide that tiles, panels, hidden numbers and outputs are each worth more than one thread (32,768 numbers)."""
    x, parts = parts_of("swiglu", (150, 800, 300, 200), dtype, bias=True)
    before = torch.get_num_threads()
    with using(path):
        has_panels(dtype)
        try:
            torch.set_num_threads(1)
            right = block("swiglu", x, parts)
            assert torch.equal(block("swiglu", x[-33:], parts), right[-33:])
            for threads in (2, 3, 7):
                torch.set_num_threads(threads)
                assert torch.equal(block("swiglu", x, parts), right), threads
        finally:
            torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_however_x_lies_the_bits_are_the_same(dtype: torch.dtype) -> None:
    has_panels(dtype)
    negated: Any = torch._neg_view  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    for cols in (1, 2, 33):
        x, parts = parts_of("geglu", (83, cols, 21, 10), dtype, bias=True)
        right, wide = block("geglu", x, parts), torch.full((83, 3 * cols + 5), torch.nan, dtype=dtype)
        wide[:, 5 : 5 + cols] = x
        apart = torch.full((83, 4 * cols), torch.nan, dtype=dtype)
        apart[:, 1::4] = x
        views = [x.T.contiguous().T, wide[:, 5 : 5 + cols], apart[:, 1::4], negated(-x)]
        if cols == 1:  # whose stride nobody may go by
            views.append(torch.full((83 * 7,), torch.nan, dtype=dtype).as_strided((83, 1), (7, 583)).copy_(x))
        for i, view in enumerate(views):
            assert torch.equal(view, x)
            assert torch.equal(block("geglu", view, parts), right), (cols, i)
        assert torch.equal(block("geglu", x[3:4].expand(83, cols), parts), right[3:4].expand(83, 10))
        assert torch.equal(block("geglu", x[::2], parts), right[::2])
        assert torch.equal(block("geglu", x, parts), right), "x was written to"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("name", NAMES)
def test_special_numbers_of_any_row_leave_the_others_their_bits(path: str, name: str, dtype: torch.dtype) -> None:
    with using(path):
        has_panels(dtype)
        x, parts = parts_of(name, (53, 19, 37, 9), dtype, bias=True)
        right = block(name, x, parts)
        for special in (torch.nan, torch.inf, -torch.inf, 3e38, -3e38, 1e-45):
            for row in (0, 13, 52):
                other = x.clone()
                other[row, row % 19] = special
                got = block(name, other, parts)
                kept = [i for i in range(53) if i != row]
                assert torch.equal(got[kept], right[kept]), (special, row)
                if special != special:
                    assert bool(got[row].isnan().all())


@pytest.mark.parametrize(("name", "dtype"), [("gelu", torch.float32), ("swiglu", torch.bfloat16)])
def test_the_operator_keeps_what_torch_asks_of_one(name: str, dtype: torch.dtype) -> None:
    has_panels(dtype)
    x, (*first, down, bias) = parts_of(name, (9, 8, 7, 6), dtype, bias=True)
    made = _panels.panels(*first) if name == "gelu" else _panels.panels_of_gate(*first[::2], *first[1::2])
    arguments = (x, made, _panels.panels(down, bias), 7, 6, NAMES.index(name))
    assert set(torch.library.opcheck(torch.ops.gatewise.panel_block.default, arguments, {"high": True}).values()) == {
        "SUCCESS"
    }
    meta = panel_block(*[each.to("meta") if isinstance(each, Tensor) else each for each in arguments])
    assert (meta.shape, meta.dtype, meta.device.type) == ((9, 6), dtype, "meta")
    with pytest.raises(RuntimeError, match=r"shapes \(8,\), .* do not match"):
        panel_block(*[each.to("meta")[0] if each is x else each for each in arguments])
    assert not panel_block(x.clone().requires_grad_(), *arguments[1:]).requires_grad


def refused(op: Any, *arguments: Any) -> str:
    with pytest.raises(RuntimeError) as caught:
        op(*arguments)
    (line,) = str(caught.value).splitlines()
    return line


def test_what_panels_cannot_be_made_of_is_told_in_a_line() -> None:
    one, gate = torch.ops.gatewise.panels, torch.ops.gatewise.panels_of_gate
    w = torch.ones(7, 8)
    for op, arguments, words in (
        (one, (w[0], NONE), "panels: 2 dimensions expected, got (8)"),
        (one, (w, w), "panels: 1 dimensions expected, got (7, 8)"),
        (one, (w, torch.ones(8)), "panels: shapes (7, 8) and (8) do not match"),
        (one, (w, torch.ones(7).double()), "panels: the dtypes of the tensors differ"),
        (one, (w.double(), NONE.double()), f"panels: {ABSENT}"),
        (one, (w.half(), NONE.half()), f"panels: {ABSENT}"),
        (gate, (w, NONE, w[:6], NONE), "panels_of_gate: shapes (7, 8) and (6, 8) do not match"),
        (gate, (w, NONE, w[:, 1:], NONE), "panels_of_gate: shapes (7, 8) and (7, 7) do not match"),
        (gate, (w, torch.ones(6), w, NONE), "panels_of_gate: shapes (7, 8) and (6) do not match"),
        (gate, (w, NONE, w, torch.ones(6)), "panels_of_gate: shapes (7, 8) and (6) do not match"),
        (gate, (w, NONE, w.bfloat16(), NONE), "panels_of_gate: the dtypes of the tensors differ"),
    ):
        assert refused(op, *arguments) == f"gatewise::{words}"


@pytest.mark.parametrize("path", paths())
def test_what_is_no_block_is_told_in_a_line(path: str) -> None:
    x, parts = parts_of("gelu", (9, 8, 70, 60), torch.float32, bias=False)
    gelu = NAMES.index("gelu")
    with using(path):
        first, down = _panels.panels(parts[0]), _panels.panels(parts[2])
        good: dict[str, Any] = {"x": x, "first": first, "down": down, "hidden": 70, "outputs": 60, "function": gelu}
        right = panel_block(*good.values())
        sizes = tuple(first.shape)
        other = _panels.panels(torch.ones(200, 8))
        for changed, words in (
            ({"x": x[:, :7]}, f"panels {sizes} are not those of 7 inputs and 70 outputs here"),
            ({"first": other}, f"panels {tuple(other.shape)} are not those of 8 inputs and 70 outputs here"),
            ({"hidden": 200}, f"panels {sizes} are not those of 8 inputs and 200 outputs here"),
            (
                {"hidden": -1, "first": first[:0]},
                f"panels (0, {sizes[1]}) are not those of 8 inputs and -1 outputs here",
            ),
            (
                {"outputs": -1, "down": down[:0]},
                f"panels (0, {down.shape[1]}) are not those of 70 inputs and -1 outputs",
            ),
            ({"hidden": 2**62}, f"panels {sizes} are not those of 8 inputs and {2**62} outputs here"),
            ({"outputs": 200}, f"panels {tuple(down.shape)} are not those of 70 inputs and 200 outputs here"),
            ({"function": NAMES.index("swiglu")}, f"panels {sizes} are not those of 8 inputs and 70 outputs here"),
            ({"function": -1}, "no function at place -1"),
            ({"function": len(NAMES)}, f"no function at place {len(NAMES)}"),
            ({"first": first[0]}, f"2 dimensions expected, got ({sizes[1]})"),
            ({"x": x[None]}, "2 dimensions expected, got (1, 9, 8)"),
            ({"down": down.bfloat16()}, "the dtypes of the tensors differ"),
            ({"x": x.double(), "first": first.double(), "down": down.double()}, ABSENT),
        ):
            line = refused(panel_block, *{**good, **changed}.values())
            assert line.startswith(f"gatewise::panel_block: {words}"), changed
        assert torch.equal(panel_block(*good.values()), right)
        for made_for in paths():
            if made_for != path:
                with using(made_for):
                    foreign = _panels.panels(parts[2])
                assert f"panels {tuple(foreign.shape)} are not those of 70 inputs" in refused(
                    panel_block, x, first, foreign, 70, 60, gelu
                )


def test_bfloat16_without_amx_is_refused_by_the_operators_and_goes_another_way_in_a_block() -> None:
    x, w = numbers(20, 12).bfloat16(), numbers(19, 12).bfloat16()
    ours = gatewise.FeedForward(12, 19, path="panels").bfloat16()
    with using("plain"), torch.no_grad():
        assert not _panels.available(torch.bfloat16)
        assert refused(torch.ops.gatewise.panels, w, NONE.bfloat16()) == f"gatewise::panels: {ABSENT}"
        assert refused(panel_block, x, w, w, 19, 12, 0) == f"gatewise::panel_block: {ABSENT}"
        assert ours.path_of(x) == f"blocked: {REFUSED}"
        assert far(ours(x), in_double(ours, x)) < 1e-2
        assert ours.packed_bytes == 0


REFUSED = (
    "path='panels', which needs an activation and a dtype with such kernels, and weights not made in inference mode"
)


def in_double(ours: gatewise.FeedForward, x: Tensor) -> Tensor:
    return activations.FeedForward.forward(copy.deepcopy(ours).double(), x.double()).detach()


def operator(ours: gatewise.FeedForward, x: Tensor, *, high: bool) -> Tensor:
    gated = ours.activation in GATES
    linears = [ours.unit.gate, ours.unit.up, ours.down] if gated else [ours.up, ours.down]
    parts = [each for linear in linears for each in (linear.weight, linear.bias)]
    return block(ours.activation, x, parts, high=high)


@pytest.mark.parametrize("accuracy", ["default", "high"])
@pytest.mark.parametrize("activation", NAMES)
def test_the_block_is_the_stock_block_within_rounding(activation: str, accuracy: str) -> None:
    for bias in (False, True):
        ours = gatewise.FeedForward(33, 50, activation, bias=bias, path="panels", accuracy=accuracy)
        for shape in ((33,), (1, 33), (9, 33), (143, 33), (3, 5, 33)):
            x = 3 * numbers(*shape)
            with torch.no_grad():
                found = ours(x)
                assert ours.path_of(x) == "panels: path='panels'"
                assert torch.equal(found.view(-1, 33), operator(ours, x.view(-1, 33), high=accuracy == "high"))
                assert torch.equal(ours(x), found)
            assert found.shape == shape
            assert far(found, in_double(ours, x)) < 1e-6
        assert far(ours(x).detach(), in_double(ours, x)) < 1e-6  # with a gradient, another way
        assert ours(x).requires_grad


def test_panels_follow_the_dtype_of_autocast() -> None:
    has_panels(torch.bfloat16)
    ours, x = gatewise.FeedForward(33, 50, path="panels"), numbers(40, 33)
    with torch.no_grad():
        plain, one = ours(x), ours.packed_bytes
        with torch.autocast("cpu", torch.bfloat16):
            assert ours.path_of(x) == "panels: path='panels'"
            found = ours(x)
        assert found.dtype is torch.bfloat16
        assert far(found, plain.double()) < 2e-2
        assert ours.packed_bytes > one
        assert torch.equal(ours(x), plain)


@pytest.mark.parametrize("activation", ["relu", "reglu", "mish"])
def test_an_activation_without_a_kernel_goes_another_way_and_says_so(activation: str) -> None:
    ours, x = gatewise.FeedForward(12, 19, activation, path="panels"), numbers(20, 12)
    with torch.no_grad():
        assert ours.path_of(x) == f"blocked: {REFUSED}"
        assert far(ours(x), in_double(ours, x)) < 1e-6
    assert ours.packed_bytes == 0


def test_weights_of_inference_mode_and_other_dtypes_go_another_way() -> None:
    x = numbers(20, 12)
    with torch.inference_mode():
        ours = gatewise.FeedForward(12, 19, path="panels")
        assert ours.path_of(x) == f"blocked: {REFUSED}"
        torch.testing.assert_close(ours(x), activations.FeedForward.forward(ours, x), rtol=2e-5, atol=2e-6)
    ours = gatewise.FeedForward(12, 19, path="panels").double()
    with torch.no_grad():
        assert ours.path_of(x.double()).startswith("torch: ")
        assert torch.equal(ours(x.double()), in_double(ours, x))


def scratch_bytes(call: Callable[[], Tensor], folder: Path) -> int:
    """The most that a call has allocated at one time beside its result, also where no operation of torch's shows it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = call()
    profile.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    found = [(each["ts"], each["args"]["Bytes"]) for each in events if each["name"] == "[memory]"]
    live = peak = 0
    for _, size in sorted(found, key=lambda each: each[0]):
        live += size
        peak = max(peak, live)
    assert live == result.nbytes
    return peak - result.nbytes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_no_more_than_a_block_of_the_hidden_activation_is_ever_there(
    activation: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    has_panels(dtype)
    dim, hidden = 24, 512
    ours = gatewise.FeedForward(dim, hidden, activation, path="panels").to(dtype)
    size = dtype.itemsize
    with torch.no_grad():
        ours(numbers(20, dim, dtype=dtype))  # the panels are made
        inputs = [numbers(rows, dim, dtype=dtype) for rows in (1, 2048, 8192)]
        few, many, more = (scratch_bytes(lambda x=x: ours(x), tmp_path) for x in inputs)
    assert few >= hidden * size  # what is there is seen
    assert max(many, more) <= 256 * (hidden + dim + 40) * size, "rows of a block"
    assert max(many, more) <= 8192 * hidden * size / 16
