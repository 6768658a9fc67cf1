"""What the operations of PyTorch do to values. Names without namespace, overload and the mark of in-place ones."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gatewise import activations
from gatewise.graphs import Kind

from ._evaluate import NATIVE

# Pointwise, but without PyTorch's own tag.
_POINTWISE = {
    "hardswish", "prelu", "_prelu_kernel", "log_sigmoid", "rsub", "special_erf", "special_erfc", "special_expit",
    "masked_fill", "softsign", "hardtanh", "relu6", "leaky_relu", "silu", "gelu", "mish", "elu", "celu", "selu",
    "zeros_like", "ones_like", "full_like",
}  # fmt: skip
_COPIES = {"clone", "contiguous", "alias", "detach", "lift", "lift_fresh", "lift_fresh_copy", "dropout", "_conj",
           "feature_dropout", "alpha_dropout", "positive", "resolve_conj", "resolve_neg"}  # fmt: skip
_CASTS = {"_to_copy", "to", "type_as", "quantize_per_tensor", "dequantize"}
_RESHAPES = {
    "view", "_unsafe_view", "reshape", "_reshape_alias", "t", "transpose", "permute", "squeeze", "unsqueeze",
    "expand", "flatten", "unflatten", "movedim", "numpy_T", "mT", "view_copy", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "unfold",
}  # fmt: skip
SPLITS = {"split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "unbind", "chunk", "unsafe_chunk",
          "split_copy", "split_with_sizes_copy", "unbind_copy"}  # fmt: skip
SELECTS = {"slice", "select", "narrow", "slice_copy", "select_copy"}
_NORMS = {
    "native_layer_norm", "layer_norm", "rms_norm", "_fused_rms_norm", "native_batch_norm", "batch_norm",
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_group_norm",
    "group_norm", "instance_norm", "_batch_norm_with_update", "_batch_norm_no_update",
}  # fmt: skip
_REDUCTIONS = {
    "sum", "mean", "var", "std", "var_mean", "std_mean", "amax", "amin", "max", "min", "aminmax", "prod", "norm",
    "linalg_vector_norm", "logsumexp", "any", "all", "argmax", "argmin", "median", "avg_pool2d", "avg_pool1d",
    "avg_pool3d", "max_pool2d_with_indices", "max_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool1d",
    "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool1d", "max_pool1d", "count_nonzero",
}  # fmt: skip
# Where input, weight and bias stand among the arguments.
LINEARS = {
    "linear": (0, 1, 2),
    "mm": (0, 1, None),
    "addmm": (1, 2, 0),
    "bmm": (0, 1, None),
    "baddbmm": (1, 2, 0),
    "matmul": (0, 1, None),
    "mv": (1, 0, None),
    "addmv": (2, 1, 0),
    "convolution": (0, 1, 2),
    "_convolution": (0, 1, 2),
    "mkldnn_convolution": (0, 1, 2),
    "conv1d": (0, 1, 2),
    "conv2d": (0, 1, 2),
    "conv3d": (0, 1, 2),
    "mkldnn_linear": (0, 1, 2),
    "_grouped_mm": (0, 1, None),
}


def _mean_slope(args: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    limits = [value for value in args if isinstance(value, float)]
    low, high = limits if len(limits) == 2 else (1 / 8, 1 / 3)
    return torch.ops.aten.leaky_relu.default, (args[0], (low + high) / 2)


# Pointwise at inference, though their operation returns or takes more than that; what computes the same.
SUBSTITUTES: dict[str, Callable[[Sequence[Any]], tuple[Any, tuple[Any, ...]]]] = {
    "log_sigmoid_forward": lambda args: (torch.ops.aten.log_sigmoid.default, (args[0],)),
    "rrelu_with_noise": _mean_slope,
}


def base_name(func: Any) -> str:
    """`relu` of `aten.relu_.default`."""
    name = str(func._schema.name if hasattr(func, "_schema") else func).rpartition("::")[2]
    return name.removesuffix("_") if name.endswith("_") and not name.endswith("__") else name


def shown_name(func: Any) -> str:
    """As PyTorch shows it: `aten.gelu.default`."""
    return str(func)


def is_packed_linear(func: Any) -> bool:
    """Whether it is a linear operation whose weights are an object of its own and no tensor: a quantised layer."""
    name = base_name(func)
    packed = str(func).startswith(("quantized.", "mkldnn_prepacked.", "onednn."))
    return packed and name.startswith(("linear", "conv")) and "relu" not in name


def is_random(func: Any) -> bool:
    """Whether two calls with the same arguments may differ."""
    return torch.Tag.nondeterministic_seeded in getattr(func, "tags", ())


def has_pointwise_tag(func: Any) -> bool:
    """Whether PyTorch itself says so, of this operation or of the one that it does in place."""
    if torch.Tag.pointwise in getattr(func, "tags", ()):
        return True
    name = base_name(func)
    packet = getattr(torch.ops.aten, name, None) if str(func).startswith("aten.") else None
    overload = getattr(packet, str(func).rpartition(".")[2], None) if packet is not None else None
    return overload is not None and torch.Tag.pointwise in overload.tags


def kind_of(func: Any, first: Tensor | None, result: Any) -> Kind:
    """The kind of an operation of aten, apart from linear ones, whose kind depends on what is constant."""
    name = base_name(func)
    if name in _COPIES:
        return Kind.COPY
    if name in _CASTS:
        changed = first is None or not isinstance(result, Tensor) or result.dtype != first.dtype
        return Kind.CAST if changed else Kind.COPY
    for names, kind in (
        (_RESHAPES, Kind.RESHAPE),
        (SPLITS | SELECTS, Kind.SELECT),
        (_NORMS, Kind.NORM),
        (_REDUCTIONS, Kind.REDUCE),
    ):
        if name in names:
            return kind
    if is_random(func):
        return Kind.OTHER
    if str(func).startswith(NATIVE):
        return Kind.POINTWISE if name in activations.names() else Kind.OTHER
    return Kind.POINTWISE if has_pointwise_tag(func) or name in _POINTWISE else Kind.OTHER


def parts_of(func: Any, args: tuple[Any, ...], whole: Tensor, got: list[Tensor]) -> list[dict[str, Any]]:
    """Which part of `whole` each result of a split is."""
    unbound = base_name(func).startswith("unbind")
    axis = _axis(args, 1 if unbound else 2, whole.dim())
    sizes = [1 if unbound else tensor.shape[axis] for tensor in got]
    return [_equal(axis, whole.shape[axis], size, sum(sizes[:index])) for index, size in enumerate(sizes)]


def part_of(func: Any, args: tuple[Any, ...], whole: Tensor, got: Tensor) -> dict[str, Any]:
    """Which part of `whole` a slice is: its axis, and (index, count) where the parts are equal."""
    name = base_name(func).removesuffix("_copy")
    dims = whole.dim()
    axis = _axis(args, 1, dims)
    total = whole.shape[axis]
    if name == "select":
        return _equal(axis, total, 1, int(args[2]) % max(total, 1))
    start = int(args[2]) if len(args) > 2 and args[2] is not None else 0
    start = min(max(start + total if start < 0 else start, 0), total)
    step = int(args[4]) if len(args) > 4 else 1
    size = got.shape[axis]
    if step == 1:
        return _equal(axis, total, size, start)
    interleaved = start < step and size * step == total
    return {"axis": axis, "interleaved": True} | ({"part": (start, step)} if interleaved else {})


def _axis(args: tuple[Any, ...], place: int, dims: int) -> int:
    return int(args[place]) % max(dims, 1) if len(args) > place else 0


def _equal(axis: int, total: int, size: int, start: int) -> dict[str, Any]:
    if size and total % size == 0 and start % size == 0:
        return {"axis": axis, "part": (start // size, total // size)}
    return {"axis": axis, "start": start, "size": size}
