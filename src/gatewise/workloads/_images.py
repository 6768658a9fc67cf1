"""`convnet` and `vit`: small image classifiers on real handwritten digits, so that not everything here is text.

Shapes: B batch, C channels, H height, W width.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from gatewise import surgery

from ._image_data import Batch, facts, side_of
from ._image_models import ConvNet, ConvNetConfig, ViT, ViTConfig
from ._labels import chance
from ._options import check_whole
from ._workload import Quality, Workload

_PROBE_BATCH = 32


class ImageWorkload(Workload):
    """What both share: the images, the loss, the accuracy. `tokens` has no meaning here and changes nothing.

    The weights state of every arm is `untrained` until it is trained: before that times, memory and counts are valid,
    outputs and quality say nothing.
    """

    size: int
    batch: int
    heldout_batch: int

    @abstractmethod
    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:
        """An untrained model of one arm, in train mode."""

    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """The model's configuration, as plain data."""

    # -- training

    def train_batch(self, step: int, seed: int, batch: int | None = None) -> Batch:
        """Images drawn from the training side. They depend on (seed, step) only: all arms see the same."""
        x_BCHW, y_B = side_of("train", self.size)
        rows = np.random.default_rng([seed, step]).integers(0, len(y_B), size=batch or self.batch)
        return x_BCHW[rows], y_B[rows]

    def heldout_batches(self) -> tuple[Batch, ...]:
        """All held-out images, in a fixed order, shuffled once, so any prefix is a fair sample."""
        x_BCHW, y_B = side_of("heldout", self.size)
        order = torch.from_numpy(np.random.default_rng(0).permutation(len(y_B)))
        return tuple((x_BCHW[rows], y_B[rows]) for rows in order.split(self.heldout_batch))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of the class, in bits per image (a scalar with gradient)."""
        x_BCHW, y_B = batch
        return F.cross_entropy(model(x_BCHW), y_B) / math.log(2)

    # -- as every workload

    def facts(self) -> dict[str, Any]:
        return {"workload": self.name, "data": facts(), "model": self.shape() | {"image_size": self.size}}

    def original(self) -> nn.Module:
        """The GELU model of seed 0; its weights say that they are untrained."""
        model = self.fresh("gelu", seed=0).eval()
        surgery.mark_weights(model, "untrained")
        return model

    def inputs(self, batch: int, tokens: int, seed: int) -> Tensor:
        """x_BCHW of held-out images."""
        del tokens  # an image has the size that it has
        x_BCHW, y_B = side_of("heldout", self.size)
        return x_BCHW[np.random.default_rng([seed, batch]).integers(0, len(y_B), size=batch)]

    def run(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The class logits, [B, 10]."""
        return model(inputs)

    def probe(self) -> Sequence[Tensor]:
        """All held-out images."""
        return side_of("heldout", self.size)[0].split(_PROBE_BATCH)

    def quality(self, model: nn.Module) -> Quality:
        """Accuracy on the held-out images, image by image."""
        wanted: list[int] = side_of("heldout", self.size)[1].tolist()
        with torch.inference_mode():
            answers: list[int] = torch.cat([self.run(model, x) for x in self.probe()]).argmax(1).tolist()
        scores = tuple(float(a == b) for a, b in zip(answers, wanted, strict=True))
        return Quality(name="accuracy on held-out digits", scores=scores, chance=chance([str(y) for y in wanted]))


def _shared(workload: ImageWorkload, kind: type[ConvNetConfig] | type[ViTConfig]) -> dict[str, Any]:
    return {field.name: getattr(workload, field.name) for field in fields(kind) if hasattr(workload, field.name)}


@dataclass(frozen=True, kw_only=True)
class ConvNetWorkload(ImageWorkload):
    """A small ResNet. Its activations stand between convolutions: scalar arms only, a gate is refused.

    Attributes:
        size: side of the images in pixels.
        channels, stages, blocks: as in `ConvNetConfig`.
        batch: images in one training step.
        heldout_batch: images in one held-out batch.
    """

    size: int = 32
    channels: int = 16
    stages: int = 3
    blocks: int = 1
    batch: int = 16
    heldout_batch: int = 60

    name = "convnet"

    def __post_init__(self) -> None:
        for name in ("batch", "heldout_batch"):
            check_whole(name, getattr(self, name), least=1)
        ConvNetConfig(**_shared(self, ConvNetConfig))  # checks the shape
        check_whole("size", self.size, least=2**self.stages, most=512)

    def shape(self) -> dict[str, Any]:
        return asdict(ConvNetConfig(**_shared(self, ConvNetConfig)))

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> ConvNet:
        del matching  # every scalar arm has the same weights
        return ConvNet(ConvNetConfig(activation=arm, **_shared(self, ConvNetConfig)), seed=seed)


@dataclass(frozen=True, kw_only=True)
class ViTWorkload(ImageWorkload):
    """A small vision transformer, with an FFN in each block: scalar arms and gates.

    Attributes:
        size, patch, dim, layers, heads, hidden: as in `ViTConfig`.
        batch: images in one training step.
        heldout_batch: images in one held-out batch.
    """

    size: int = 32
    patch: int = 4
    dim: int = 64
    layers: int = 4
    heads: int = 4
    hidden: int | None = None
    batch: int = 16
    heldout_batch: int = 60

    name = "vit"

    def __post_init__(self) -> None:
        for name in ("batch", "heldout_batch"):
            check_whole(name, getattr(self, name), least=1)
        ViTConfig(**_shared(self, ViTConfig))  # checks the shape

    def shape(self) -> dict[str, Any]:
        return asdict(ViTConfig(**_shared(self, ViTConfig)))

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> ViT:
        return ViT(ViTConfig(activation=arm, matching=matching, **_shared(self, ViTConfig)), seed=seed)
