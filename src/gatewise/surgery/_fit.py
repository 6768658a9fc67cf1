"""Fitting the sites of a converted model in sequence, each on the inputs that it gets from those before it."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._fit_inputs import Batch, Reader, gather
from ._fit_units import Free, fit_units
from ._keep_constants import Constants, bias_of, rows_of
from ._keep_site import KeptSite

MOST_ROWS = 16_384
"""Rows that the constants of one site are fitted on; of more, a random part is taken."""
FEWEST_ROWS = 512
"""Below this a calibration set is refused."""
_UNITS = 256
"""Units that are fitted side by side."""


def fit_sites(model: nn.Module, sites: list[KeptSite], batches: list[Batch], seed: int) -> None:
    """Fit the constants of every site, in the order in which the model runs them. All are in eval mode already."""
    for site in in_order(model, sites, batches[0]):
        x = gather(model, site.path, site.entry, batches, MOST_ROWS, seed)
        if len(x) < FEWEST_ROWS:
            raise GatewiseError(
                f"the calibration set is too small: {site.path!r} reads {len(x)} rows of it, and a fit needs at least "
                f"{FEWEST_ROWS}\na row is one token (or item); each hidden unit has its own constants, and a unit that "
                "is seldom active needs rows in which it is"
            )
        start = site.constants
        plain = _error(site, x)
        site.fill(fit_constants(site, x))
        if not _error(site, x) <= plain:
            site.fill(start)  # every unit gained, but their errors add up worse than before


def _error(site: KeptSite, x: Tensor) -> float:
    """The squared error of the site's output as it is now, on the rows that it is fitted on."""
    act = activations.get(site.route.after).torch
    return float(
        sum((site.new.output(act, part) - site.before(part)).double().square().sum() for part in x.split(4096))
    )


def in_order(model: nn.Module, sites: list[KeptSite], batch: Batch) -> list[KeptSite]:
    """The sites in the order in which they are first run; those that one batch does not reach come last."""
    reader = Reader(entries={site.path: site.entry for site in sites})
    reader.read(model, batch)
    order = list(reader.seen)
    return sorted(sites, key=lambda site: order.index(site.path) if site.path in order else len(order))


def fit_constants(site: KeptSite, x: Tensor) -> Constants:
    """The constants of one site's units from the rows it reads; then the offsets take the mean error that is left."""
    route, gated = site.route, site.old.up is not None
    free = Free(shift=site.shifts and not gated, slope=_has_slope(site), offset=site.offsets)
    start = route.start(len(rows_of(site.old.gate)))
    weight, bias = rows_of(site.old.gate).double(), bias_of(site.old.gate)
    rows = x.double()
    parts: list[Constants] = []
    for first in range(0, len(weight), _UNITS):
        chosen = slice(first, first + _UNITS)
        z = torch.nn.functional.linear(rows, weight[chosen], bias[chosen])
        found = fit_units(z, route.before, route.after, start.part(chosen), free)
        parts.append(_centred(found, z, route.before, route.after) if site.offsets else found)
    return Constants.joined(parts)


def _has_slope(site: KeptSite) -> bool:
    """Whether `up` is a layer of its own that may hold a term linear in the input."""
    return site.old.up is None and site.new.up is not None


def _centred(constants: Constants, z: Tensor, before: str, after: str) -> Constants:
    """The offsets moved so that the mean error over the rows is 0."""
    c = constants
    bent = activations.get(after).torch(c.beta.to(z) * z + c.shift.to(z))
    error = activations.get(before).torch(z) - (c.scale.to(z) + c.slope.to(z) * z) * bent
    return replace(c, offset=error.mean(dim=0).cpu())
