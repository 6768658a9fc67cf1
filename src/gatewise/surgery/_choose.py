"""Which sites a swap takes: the model's main activation, or what the caller's globs say."""

import difflib
from collections import Counter
from fnmatch import fnmatchcase

from gatewise.core import GatewiseError

from ._gate import simple_gate
from ._sites import FoundSite, Site, looked_for

Left = tuple[str, str]


def choose(
    found: list[FoundSite], to: str, *, gate: bool, only: str | list[str] | None
) -> tuple[list[FoundSite], list[Left]]:
    """The sites to swap, and the others with the reason why they are left.

    Raises `GatewiseError` when there is no site, a glob matches none, or a gate cannot be put where it is asked for.
    """
    if not found:
        raise GatewiseError(f"no activation or FFN found in the model\nlooked for: {looked_for()}")
    if only is not None:
        chosen, left = _by_globs(found, [only] if isinstance(only, str) else only)
    else:
        chosen, left = _by_main(found)
    blocked = [
        each
        for each in chosen
        if not each.site.swappable or (_rebuilds(each.site, to, gate=gate) and not each.site.gateable)
    ]
    # Asked for by name, or nothing else to gate: an error. Swept along by the default rule: left, and listed.
    if blocked and (only is not None or len(blocked) == len(chosen)):
        site = blocked[0].site
        raise GatewiseError(f"{to} cannot be put at {site.path!r}: {site.obstacle}")
    left += [(each.site.path, each.site.obstacle) for each in blocked]
    return [each for each in chosen if each not in blocked], left


def _rebuilds(site: Site, to: str, *, gate: bool) -> bool:
    """Whether new matrices are needed: a gate in a scalar FFN, anything but a simple gate in a gated one."""
    return simple_gate(to) is None if site.gated else gate


def _by_main(found: list[FoundSite]) -> tuple[list[FoundSite], list[Left]]:
    ffns = [each for each in found if each.site.kind == "ffn"]
    counts = Counter(each.site.before for each in (ffns or found))
    sizes: Counter[str] = Counter()
    for each in ffns or found:
        sizes[each.site.before] += each.site.parameters
    # Of functions that are as frequent the one with more weights around it (Swin v2 has a tiny ReLU net beside every
    # FFN); Counter keeps the order of first sight, so what is left of a tie goes to the one that comes first.
    main = max(counts, key=lambda name: (counts[name], sizes[name]))
    chosen = [each for each in found if each.site.before == main]
    reason = f"not the model's main activation {main}"
    return chosen, [
        (each.site.path, f"computes {each.site.before}, {reason}") for each in found if each.site.before != main
    ]


def _by_globs(found: list[FoundSite], globs: list[str]) -> tuple[list[FoundSite], list[Left]]:
    for glob in globs:
        if not any(_matches(each.site, glob) for each in found):
            paths = [path for each in found for path in each.site.paths]
            nearest = difflib.get_close_matches(glob, paths, n=1, cutoff=0.0)
            shown = ", ".join(paths[:6]) + (f", ... ({len(paths)} in all)" if len(paths) > 6 else "")
            raise GatewiseError(f"no site matches {glob!r}; the nearest is {nearest[0]!r}\nsites: {shown}")
    if not globs:
        raise GatewiseError("`only` is an empty list; give a glob over site paths, or leave it out")
    chosen = [each for each in found if any(_matches(each.site, glob) for glob in globs)]
    left = [(each.site.path, "not matched by `only`") for each in found if each not in chosen]
    return chosen, left


def _matches(site: Site, glob: str) -> bool:
    """Whether a glob matches one of the site's paths or a module that holds it."""
    for path in site.paths:
        parts = path.split(".")
        if any(fnmatchcase(".".join(parts[:length]), glob) for length in range(1, len(parts) + 1)):
            return True
    return False
