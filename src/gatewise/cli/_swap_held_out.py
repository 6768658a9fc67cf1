"""What `gatewise swap` says of inputs that the fit has not seen: cosines, and which neighbours an output keeps."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gatewise.workloads import Workload

NEAREST = 10
FEWEST = 20
"""Fewer items than that have no neighbours worth counting."""
MOST = 2000


def held_out(found: "Workload", original: "nn.Module", model: "nn.Module", batches: list[Any]) -> dict[str, Any]:
    """The workload's own outputs, one row an item: cosine to the original's, and the neighbours that are kept."""
    import torch

    from gatewise.workloads import cosine_rows

    with torch.inference_mode():
        pairs = [(found.run(original, batch), found.run(model, batch)) for batch in batches]
    cosines = torch.cat([cosine_rows(before, after) for before, after in pairs])
    finite = bool(torch.isfinite(cosines).all())
    told: dict[str, Any] = {
        "items": len(cosines),
        "cosine_mean": float(cosines.mean()) if finite else None,
        "cosine_least": float(cosines.min()) if finite else None,
    }
    flat = [(before.flatten(1), after.flatten(1)) for before, after in pairs]
    same = len({before.shape[1] for before, _ in flat}) == 1
    if finite and same and len(cosines) >= FEWEST:
        told["neighbours"] = kept_neighbours(torch.cat([one for one, _ in flat]), torch.cat([two for _, two in flat]))
    return told


def kept_neighbours(before: "Tensor", after: "Tensor") -> dict[str, Any]:
    """How much of a search by cosine among the items themselves stays: [items, width] twice.

    `top1` is the share of items whose nearest other item is the same, `top10` the mean share of its ten nearest that
    are. Of more than 2,000 items the first are taken.
    """
    import torch

    found: list[Tensor] = []
    for given in (before[:MOST], after[:MOST]):
        unit = torch.nn.functional.normalize(given.double(), dim=1)
        likeness = unit @ unit.t()
        likeness.fill_diagonal_(-torch.inf)
        found.append(likeness.topk(NEAREST, dim=1).indices)
    one, other = found
    shared = (one[:, :, None] == other[:, None, :]).any(dim=2).double()
    return {
        "items": len(one),
        "top1": float((one[:, 0] == other[:, 0]).double().mean()),
        "top10": float(shared.mean()),
    }


def in_words(told: dict[str, Any], when: str) -> str:
    """One line for people."""
    if told["cosine_mean"] is None:
        return f"{when}, {told['items']} items: the outputs are not finite, so no cosine can be stated"
    cosine = f"cosine to the original {told['cosine_mean']:.5f} (least {told['cosine_least']:.5f})"
    line = f"{when}, {told['items']} items: {cosine}"
    near = told.get("neighbours")
    if near:
        line += (
            f"; of the nearest {100 * near['top1']:.1f} %, of the {NEAREST} nearest {100 * near['top10']:.1f} % kept"
        )
    return line
