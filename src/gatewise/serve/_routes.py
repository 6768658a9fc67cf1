"""Which version each alias of a model means."""

from dataclasses import dataclass

from gatewise.core import GatewiseError

from ._datatypes import DTYPES
from ._servable import Servable

HALF = 0.5
"""A canary with this share or more is asked as often as live, which is then its control."""


@dataclass(frozen=True, kw_only=True)
class Routes:
    """Which version each alias means. Shares are from 0 to 1, of the requests that name no version.

    `canary_share` of them are answered by `canary` instead of `live`; `shadow_share` of those that `live` answers run
    on `shadow` too. For an A/A comparison `shadow` is a second servable of the same version, loaded for itself.
    `beside` is a copy of `live`, loaded for itself too: every shadow's batch runs on it once more, and these two times
    are what is compared. Without it the times of live and shadow are compared as they come, which is not fair.
    `control` is one more copy of `live` that answers as many requests as the canary, out of live's share: the canary's
    times are compared with its times. A version that gets few requests runs colder than one that gets many. Where the
    canary gets half of them or more, live itself is the control.
    """

    live: Servable
    canary: Servable | None = None
    canary_share: float = 0.0
    shadow: Servable | None = None
    shadow_share: float = 0.0
    beside: Servable | None = None
    control: Servable | None = None

    def __post_init__(self) -> None:
        for name, share, servable in (
            ("canary", self.canary_share, self.canary),
            ("shadow", self.shadow_share, self.shadow),
        ):
            if not 0 <= share <= 1:
                raise GatewiseError(f"{name}_share must be from 0 to 1, not {share}")
            if share and servable is None:
                raise GatewiseError(f"{name}_share is {share:g}, but no version is {name}")
        if self.shadow is self.live:
            raise GatewiseError("live and shadow are one servable, which cannot run twice at once; load it once more")
        if self.beside is not None and self.shadow is None:
            raise GatewiseError("beside is a copy of live that runs beside a shadow, but no version is shadow")
        if self.control is not None and self.canary is None:
            raise GatewiseError("control is a copy of live that answers beside a canary, but no version is canary")
        if self.control is not None and self.canary_share >= HALF:
            raise GatewiseError(
                f"at a canary_share of {self.canary_share:g} live itself is the control; it needs no copy"
            )
        self._check_copy("beside", self.beside, self.control)
        self._check_copy("control", self.control, self.beside)
        for each in (self.live, self.canary, self.shadow):
            if each is not None:
                _check(self.live, each)

    def _check_copy(self, name: str, copy: Servable | None, other: Servable | None) -> None:
        if copy is None:
            return
        taken = any(copy is each for each in (self.live, self.canary, self.shadow, other))
        if taken or (copy.version, copy.digest) != (self.live.version, self.live.digest):
            raise GatewiseError(f"{name} must be a second copy of live, loaded for itself")


def _check(live: Servable, other: Servable) -> None:
    unknown = [port.datatype for port in (*other.inputs, *other.outputs) if port.datatype not in DTYPES]
    if unknown:
        raise GatewiseError(f"version {other.version!r} has the datatype {unknown[0]!r}\nvalid: {', '.join(DTYPES)}")
    if other.model != live.model:
        raise GatewiseError(f"{other.version!r} is a version of {other.model!r}, not of {live.model!r}")
    if other.version == live.version and other.digest != live.digest:
        raise GatewiseError(f"two versions of {live.model!r} have the label {live.version!r}: {live.digest[:12]} and "
                            f"{other.digest[:12]}")  # fmt: skip
    mine, theirs = ([(port.name, port.datatype, port.shape[1:]) for port in each.inputs] for each in (live, other))
    if sorted(mine) != sorted(theirs):
        raise GatewiseError(f"version {other.version!r} takes other inputs than {live.version!r}: {theirs}, not {mine}")
