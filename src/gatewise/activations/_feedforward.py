"""The feed-forward block, scalar or gated, at a matched size."""

from torch import Tensor, nn

from gatewise.core import GatewiseError

from ._matching import check_matching, check_size, matched_hidden
from ._modules import Activation, GatedUnit
from ._table import get


class FeedForward(nn.Module):
    """A transformer's feed-forward block: x[..., dim] to [..., dim].

    A scalar `activation` gives f(x W_up) W_down with modules `up`, `act`, `down`; a gate gives
    (act(x Wg) * (x Wu)) W_down with modules `unit` (`unit.gate`, `unit.up`) and `down`.

    With `hidden=None` a scalar block is 4 dim wide and a gated one as wide as `matching` and `multiple_of` say
    (see `matched_hidden`); a given `hidden` is used as it is. `.hidden` tells the width. Weights start as torch's
    `nn.Linear` starts them.

    Raises `GatewiseError` for an unknown activation or matching and for a size that is not a positive whole number.
    """

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        activation: str = "swiglu",
        matching: str = "params",
        multiple_of: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        spec = get(activation)
        self.dim = check_size("dim", dim)
        self.activation = spec.name
        self.matching = check_matching(matching)
        check_size("multiple_of", multiple_of)
        if hidden is not None:
            self.hidden = check_size("hidden", hidden)
        elif spec.kind == "gate":
            self.hidden = matched_hidden(dim, 4 * dim, matching, multiple_of, bias)
        else:
            self.hidden = 4 * dim
        if spec.kind == "gate":
            self.unit = GatedUnit(dim, self.hidden, activation, bias=bias)
        else:
            self.up = nn.Linear(dim, self.hidden, bias=bias)
            self.act = Activation(activation)
        self._gated = spec.kind == "gate"
        self.down = nn.Linear(self.hidden, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise GatewiseError(f"FeedForward expects [..., {self.dim}], got {list(x.shape)}")
        return self.down(self.unit(x) if self._gated else self.act(self.up(x)))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, hidden={self.hidden}, activation={self.activation!r}, matching={self.matching!r}"
