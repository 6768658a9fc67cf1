"""The precision of a training step: float32, or bfloat16 products where the processor has them."""

import platform
from contextlib import AbstractContextManager, nullcontext

import torch

from gatewise.core import GatewiseError


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX-512 BF16 or AMX; on ARM the bf16 extension)."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # pyright: ignore
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name)()) for name in checks if hasattr(torch.cpu, name))


def check_precision(precision: str) -> None:
    """Raises `GatewiseError` for bfloat16 on a processor that would only imitate it."""
    if precision == "bf16" and not has_bf16():
        raise GatewiseError(
            "precision = bf16 needs a processor with bfloat16 products (AVX-512 BF16, AMX), and this one has none\n"
            "valid here: f32"
        )


def autocast(precision: str, device: str = "cpu") -> AbstractContextManager[object]:
    """Held open over forward and loss of a step. Weights, gradients, optimiser state and evaluations stay float32."""
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def precision_words(precision: str) -> str:
    """What a record says of it."""
    return "float32" if precision == "f32" else "bfloat16 autocast over float32 weights, evaluated in float32"
