"""A small convolutional net and a small vision transformer, both from images to class logits.

Shapes: B batch, C channels, H height, W width, P patches, D width, K width of a head.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from gatewise import activations
from gatewise.core import GatewiseError, unknown_name

from ._image_data import CLASSES
from ._options import check_whole
from ._seeded import normal

_LARGEST_SIZE = 512


@dataclass(frozen=True, kw_only=True)
class ConvNetConfig:
    """The shape of a `ConvNet`. Raises `GatewiseError` for sizes out of range and for a gate.

    Attributes:
        channels: of the first stage; each stage doubles them and halves the sides.
        stages: how many stages.
        blocks: residual blocks in each stage.
        activation: name of a scalar function.
    """

    channels: int = 16
    stages: int = 3
    blocks: int = 1
    activation: str = "gelu"

    def __post_init__(self) -> None:
        for name, most in {"channels": 4096, "stages": 6, "blocks": 64}.items():
            check_whole(name, getattr(self, name), least=1, most=most)
        if activations.get(self.activation).kind == "gate":
            raise GatewiseError(
                f"convnet has no FFN for the gate {self.activation!r}: its activations stand between convolutions\n"
                f"valid: {', '.join(activations.names('scalar'))}"
            )


class ResidualBlock(nn.Module):
    """f(shortcut(x) + norm(conv(f(norm(conv(x)))))), as ResNet's basic block, in batch norm and 3 x 3 convolutions."""

    def __init__(self, wide_in: int, wide: int, stride: int, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(wide_in, wide, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        self.act1 = activations.Activation(activation)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide)
        straight = stride == 1 and wide_in == wide
        self.shortcut = nn.Identity() if straight else nn.Conv2d(wide_in, wide, 1, stride, bias=False)
        self.act2 = activations.Activation(activation)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.act1(self.norm1(self.conv1(x_BCHW)))
        return self.act2(self.shortcut(x_BCHW) + self.norm2(self.conv2(y_BCHW)))


class ConvNet(nn.Module):
    """A small ResNet: x_BCHW float32 [B, 1, H, W] to class logits [B, 10]. The weights come from `seed`."""

    def __init__(self, config: ConvNetConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or ConvNetConfig()
        self.gatewise_builder = {"name": "convnet", "config": asdict(config)}
        with torch.random.fork_rng(devices=[]):  # layers draw weights that `initialise` replaces
            self.stem = nn.Conv2d(1, config.channels, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(config.channels)
            self.act = activations.Activation(config.activation)
            blocks: list[ResidualBlock] = []
            wide_in = config.channels
            for stage in range(config.stages):
                wide = config.channels * 2**stage
                for block in range(config.blocks):
                    stride = 2 if stage and not block else 1
                    blocks.append(ResidualBlock(wide_in, wide, stride, config.activation))
                    wide_in = wide
            self.blocks = nn.ModuleList(blocks)
            self.head = nn.Linear(wide_in, CLASSES)
        initialise(self, seed)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.act(self.norm(self.stem(x_BCHW)))
        for block in self.blocks:
            x_BCHW = block(x_BCHW)
        return self.head(x_BCHW.mean(dim=(2, 3)))


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """The shape of a `ViT`. Raises `GatewiseError` for sizes that do not fit together.

    Attributes:
        size, patch: sides of the image and of a patch, in pixels.
        dim, layers, heads: width of the residual stream, number of blocks, attention heads in each.
        activation: name of a scalar function or of a gate.
        hidden: hidden width of the *scalar* block (None: 4 x dim); a gate's own width follows from it by `matching`.
        matching: as in `activations.matched_hidden`.
    """

    size: int = 32
    patch: int = 4
    dim: int = 64
    layers: int = 4
    heads: int = 4
    activation: str = "gelu"
    hidden: int | None = None
    matching: str = "params"

    def __post_init__(self) -> None:
        for name, most in {"size": _LARGEST_SIZE, "patch": self.size, "dim": 8192, "layers": 128, "heads": 128}.items():
            check_whole(name, getattr(self, name), least=1, most=most)
        if self.hidden is not None:
            check_whole("hidden", self.hidden, least=1, most=65_536)
        if self.size % self.patch:
            raise GatewiseError(f"size must be a multiple of patch = {self.patch}, got {self.size}")
        if self.dim % self.heads:
            raise GatewiseError(f"dim must be a multiple of heads = {self.heads}, got {self.dim}")
        activations.get(self.activation)

    @property
    def ffn_hidden(self) -> int:
        """The hidden width of this arm's FFN, which has biases."""
        scalar = 4 * self.dim if self.hidden is None else self.hidden
        if activations.get(self.activation).kind == "scalar":
            return scalar
        return activations.matched_hidden(self.dim, scalar, self.matching, bias=True)


class ViTBlock(nn.Module):
    """x + attention(norm(x)), then x + FFN(norm(x)); every patch sees every other."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn = activations.FeedForward(dim, config.ffn_hidden, config.activation, config.matching, bias=True)

    def forward(self, x_BPD: Tensor) -> Tensor:
        batch, patches, dim = x_BPD.shape
        heads = self.qkv(self.attention_norm(x_BPD)).view(batch, patches, 3, self.heads, dim // self.heads)
        q_BHPK, k_BHPK, v_BHPK = heads.permute(2, 0, 3, 1, 4)
        y_BHPK = F.scaled_dot_product_attention(q_BHPK, k_BHPK, v_BHPK)
        x_BPD = x_BPD + self.out(y_BHPK.transpose(1, 2).reshape(batch, patches, dim))
        return x_BPD + self.ffn(self.ffn_norm(x_BPD))


class ViT(nn.Module):
    """A small vision transformer: x_BCHW float32 [B, 1, size, size] to class logits [B, 10].

    Pre-norm blocks over patches with learned positions; the mean over the patches is classified. The weights come
    from `seed`.
    """

    def __init__(self, config: ViTConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or ViTConfig()
        self.gatewise_builder = {"name": "vit", "config": asdict(config)}
        patches = (config.size // config.patch) ** 2
        with torch.random.fork_rng(devices=[]):
            self.patches = nn.Conv2d(1, config.dim, config.patch, config.patch)
            self.positions = nn.Embedding(patches, config.dim)
            self.blocks = nn.ModuleList(ViTBlock(config) for _ in range(config.layers))
            self.norm = nn.LayerNorm(config.dim)
            self.head = nn.Linear(config.dim, CLASSES)
        initialise(self, seed)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BPD = self.patches(x_BCHW).flatten(2).transpose(1, 2)
        if x_BPD.shape[1] != self.positions.num_embeddings:
            raise GatewiseError(f"vit takes images of {self.config.size} x {self.config.size}")
        x_BPD = x_BPD + self.positions.weight
        for block in self.blocks:
            x_BPD = block(x_BPD)
        return self.head(self.norm(x_BPD).mean(dim=1))


def initialise(model: nn.Module, seed: int) -> None:
    """Set every parameter from (seed, its name) alone: norms 1, biases 0, the rest normal.

    The deviation is 1/sqrt(fan in); what writes into a ViT's residual stream is divided by sqrt(2 x layers) as well.
    Every activation gets the same rule.
    """
    layers = sum(name.endswith(".out.weight") for name, _ in model.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            std = parameter[0].numel() ** -0.5
            if name.endswith((".out.weight", ".down.weight")):
                std /= math.sqrt(2 * layers)
            parameter.copy_(normal(seed, name, tuple(parameter.shape)) * std)


def _shape(name: str, kind: Callable[..., Any], config: dict[str, Any]) -> Any:
    known = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    for key in config:
        if key not in known:
            raise unknown_name(f"{name} setting", key, known)
    return kind(**config)


def build_convnet(config: dict[str, Any]) -> ConvNet:
    """The builder of recipes. Raises `GatewiseError` for an unknown key."""
    return ConvNet(_shape("convnet", ConvNetConfig, config))


def build_vit(config: dict[str, Any]) -> ViT:
    """The builder of recipes. Raises `GatewiseError` for an unknown key."""
    return ViT(_shape("vit", ViTConfig, config))
