"""`convnet` and `vit`: small image classifiers on real handwritten digits, so that not everything here is text."""

from abc import abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Any

from ._image_data import Batch, facts, side_of
from ._image_models import ConvNet, ConvNetConfig, ViT, ViTConfig
from ._options import check_whole
from ._supervised import Supervised


class ImageWorkload(Supervised):
    """What both share: the images, 8 x 8 digits scaled up to `size`. `tokens` has no meaning here."""

    size: int

    quality_name = "accuracy on held-out digits"

    def side(self, side: str) -> Batch:
        return side_of(side, self.size)

    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """The model's configuration, as plain data."""

    def data_facts(self) -> dict[str, Any]:
        return facts()

    def facts(self) -> dict[str, Any]:
        found = super().facts()
        return found | {"model": found["model"] | {"image_size": self.size}}


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
