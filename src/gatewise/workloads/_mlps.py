"""`mnist-5k` and `digits`: the GELU paper's fully connected net on real digits, and a smaller one on smaller digits.

Hendrycks & Gimpel, "Gaussian error linear units", arXiv 1606.08415, section 3.1: eight hidden layers of 128 units, with
and without dropout of 0.5, batches of 128, rows of length 1 at the start, Adam at the best of three rates, 50 epochs of
55,000 images. What differs here: 4,000 images; AdamW with a schedule, decay and clipping, as in every training of
gatewise. Its code computes GELU by the **tanh** form, which is the arm `gelu_tanh`; `gelu` is the erf form of its text.
"""

from abc import abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import nn

from gatewise import activations, surgery

from . import _image_data as digits_data
from . import _mnist_data as mnist_data
from ._linear import pixel_accuracy
from ._mlp import MLP, MLPConfig
from ._options import check_whole
from ._supervised import Batch, Supervised


class MLPWorkload(Supervised):
    """What both share: the net, and how an arm of it is built."""

    quality_name = "accuracy on held-out digits"
    inputs_per_item: int

    @abstractmethod
    def side(self, side: str) -> Batch: ...

    def config(self, arm: str = "gelu", matching: str = "params") -> MLPConfig:
        """The net's configuration for one arm."""
        shared: dict[str, Any] = {
            field.name: getattr(self, field.name) for field in fields(MLPConfig) if hasattr(self, field.name)
        }
        shared |= {"inputs": self.inputs_per_item, "activation": arm, "matching": matching}
        return MLPConfig(**shared)

    def check_options(self) -> None:
        """Raises `GatewiseError` for a value out of range."""
        for name in ("batch", "heldout_batch"):
            check_whole(name, getattr(self, name), least=1)
        self.config()

    def shape(self) -> dict[str, Any]:
        return asdict(self.config())

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> MLP:
        """An untrained net of one arm, in train mode. A gate stands in for every layer's function."""
        return MLP(self.config(arm, matching), seed=seed)

    def baselines(self) -> dict[str, float | None]:
        """The most frequent class, and logistic regression on the pixels."""
        linear = pixel_accuracy(self.items("train"), self.items("heldout"))
        return super().baselines() | {"logistic regression on the pixels": linear}

    def build(self, arm: str, *, matching: str, seed: int) -> tuple[nn.Module, "surgery.SurgeryReport | None"]:
        """A scalar arm by surgery on the original; a gated net anew, for here every layer is gated and none is an FFN.

        A gated net has no report: no site was changed.
        """
        if arm == "original" or activations.get(arm).kind == "scalar":
            return super().build(arm, matching=matching, seed=seed)
        model = self.fresh(arm, seed=seed, matching=matching).eval()
        surgery.mark_weights(model, "untrained")
        return model, None


@dataclass(frozen=True, kw_only=True)
class MNISTWorkload(MLPWorkload):
    """5,000 MNIST digits: 4,000 to train on, 1,000 held out.

    Attributes:
        layers, hidden, dropout, norm: as in `MLPConfig`; the paper also trains with a dropout of 0.5.
        batch: images in one training step.
        heldout_batch: images in one held-out batch.
        learning_rate: the peak rate where the plan names none.
    """

    layers: int = 8
    hidden: int = 128
    dropout: float = 0.0
    norm: bool = True
    batch: int = 128
    heldout_batch: int = 100
    learning_rate: float = 1e-3

    name = "mnist-5k"
    inputs_per_item = mnist_data.SIDE**2

    def __post_init__(self) -> None:
        self.check_options()

    def side(self, side: str) -> Batch:
        return mnist_data.side_of(side)

    def data_facts(self) -> dict[str, Any]:
        return mnist_data.facts()


@dataclass(frozen=True, kw_only=True)
class DigitsWorkload(MLPWorkload):
    """scikit-learn's 1,797 digits of 8 x 8 pixels: 1,437 to train on, 360 held out.

    That is small: one held-out image is 0.28 points of accuracy, and a net of any activation knows nearly all of them.
    It trains in seconds and tells activations apart only where they differ a lot.

    Attributes:
        layers, hidden, dropout, norm: as in `MLPConfig`.
        batch: images in one training step.
        heldout_batch: images in one held-out batch.
        learning_rate: the peak rate where the plan names none.
    """

    layers: int = 3
    hidden: int = 64
    dropout: float = 0.0
    norm: bool = True
    batch: int = 64
    heldout_batch: int = 60
    learning_rate: float = 1e-3

    name = "digits"
    inputs_per_item = 64

    def __post_init__(self) -> None:
        self.check_options()

    def side(self, side: str) -> Batch:
        return digits_data.side_of(side, 8)

    def data_facts(self) -> dict[str, Any]:
        return digits_data.facts() | {
            "source": "handwritten digits, 8 x 8 grey, of scikit-learn (from the UCI repository; BSD-3)"
        }
