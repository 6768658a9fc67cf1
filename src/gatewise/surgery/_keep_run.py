"""Conversion that keeps the function, from the routes of all sites to the figures of the report."""

from dataclasses import dataclass, replace

from torch import nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._blocks import widths
from ._fit import fit_sites, in_order
from ._fit_inputs import Batch, checked_batches, evaluating
from ._keep import route_of
from ._keep_figures import site_figures, whole_figures
from ._keep_site import KeptSite, open_site
from ._reduce import reduce_site
from ._report import SiteChange, Step
from ._sites import FoundSite
from ._surgeon import Surgeon

STILL_KEPT = 0.05
"""The largest relative error of a site whose function still counts as kept."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a conversion did: the change of each site, and the whole model's error after each step."""

    changes: list[SiteChange]
    steps: tuple[Step, ...] = ()


def keep(surgeon: Surgeon, chosen: list[FoundSite], original: nn.Module, calibration: object) -> Kept:
    """Convert the chosen sites of the surgeon's model so that they keep their function.

    Raises `GatewiseError` where a site cannot keep it with this target, or where the calibration set does not do.
    """
    batches = None if calibration is None else checked_batches(calibration)
    gate = activations.get(surgeon.plan.to).kind == "gate"
    if batches is None and gate and surgeon.plan.matching != "none" and any(not found.site.gated for found in chosen):
        raise GatewiseError(
            f"matching={surgeon.plan.matching!r} removes hidden units by what they contribute: give a calibration set\n"
            "valid: calibration=batches, or matching='none', which keeps the hidden width"
        )
    routes = [route_of(surgeon.model, found, surgeon.plan.to, calibrated=batches is not None) for found in chosen]
    sites: list[KeptSite] = []
    changes: dict[str, SiteChange] = {}
    for found, route in zip(chosen, routes, strict=True):
        if route.method == "none":
            changes[found.site.path] = _unchanged(surgeon, found)
        else:
            sites.append(open_site(surgeon, found, route))
            changes[found.site.path] = sites[-1].change
    steps: tuple[Step, ...] = ()
    if batches is not None and sites:
        with evaluating(original, surgeon.model):
            steps = _calibrate(surgeon, sites, original, batches)
            figures = site_figures(surgeon.model, sites, batches)
        changes |= {site.path: _judged(site, figures[site.path]) for site in sites}
    return Kept(changes=[changes[found.site.path] for found in chosen], steps=steps)


def _calibrate(surgeon: Surgeon, sites: list[KeptSite], original: nn.Module, batches: list[Batch]) -> tuple[Step, ...]:
    """Fit what has to be fitted; the whole model's error after each step."""
    fitted = [site for site in sites if site.route.method == "fitted"]
    reduced = [site for site in sites if _widened(site) and surgeon.plan.matching != "none"]
    for site in sites:
        site.remember("plain" if site in fitted else site.route.method)
    first = "plain" if fitted else sites[0].route.method
    steps = [whole_figures(original, surgeon.model, batches, first)]
    if fitted:
        fit_sites(surgeon.model, fitted, batches, surgeon.plan.seed)
        for site in fitted:
            site.remember("fitted")
        steps.append(whole_figures(original, surgeon.model, batches, "fitted"))
    if reduced:
        for site in in_order(surgeon.model, reduced, batches[0]):
            reduce_site(surgeon, site, original, batches)
            site.remember("reduced")
        steps.append(whole_figures(original, surgeon.model, batches, "reduced"))
    return tuple(steps)


def _judged(site: KeptSite, steps: tuple[Step, ...]) -> SiteChange:
    """The change of a site with its errors. What keeps the function only roughly counts as grafted."""
    error = steps[-1].relative
    if error is not None and error > STILL_KEPT:
        note = f"{100 * error:.2g} % of the output is not kept, so the weights count as grafted"
        note = "; ".join(part for part in (site.change.note, note) if part)
        return replace(site.change, steps=steps, weights_state="grafted", note=note)
    return replace(site.change, steps=steps)


def _widened(site: KeptSite) -> bool:
    """Whether a scalar block has become a gated one, with a matrix more."""
    return site.old.up is None and site.new.up is not None


def _unchanged(surgeon: Surgeon, found: FoundSite) -> SiteChange:
    hidden = None if found.up is None else widths(found.up)[1]
    change = surgeon.change(found, hidden, found.site.parameters, "original", [])
    return replace(change, method="none")
