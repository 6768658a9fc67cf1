"""The constants of hidden units, fitted on the values that each unit really gets.

A unit is a function of one number, so its rows are first condensed to a few hundred weighted points: the outermost rows
one by one, the rest as means of groups of neighbours. Beyond what was seen, light pseudo-points hold the fit to the
function, so that the tails cannot run away. Shapes: H units, P points, C constants.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gatewise import activations

from ._keep_constants import Constants

TIPS = 32
"""Outermost rows on each side that stay points of their own."""
GROUPS = 128
"""Points that the rest is condensed to."""
GUARDS = 32
"""Pseudo-points over twice the range that was seen."""
GUARD_WEIGHT = 0.02
"""The weight of all pseudo-points of a unit together, as a share of its rows."""
STEPS = 14

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Free:
    """Which constants may move beside beta and scale."""

    shift: bool
    slope: bool
    offset: bool


def fit_units(z_NH: Tensor, before: str, after: str, start: Constants, free: Free) -> Constants:
    """Constants that make (scale + slope z) after(beta z + shift) + offset close to before(z), unit by unit.

    Damped Gauss-Newton in float64 on the weighted squared error, from `start`; a unit that does not gain keeps its
    start. `z_NH` holds the values that the units get, one row an input.
    """
    points_HP, weights_P = condense(z_NH)
    guards_HP, guard = _guards(points_HP, float(weights_P.sum()))
    points_HP = torch.cat([points_HP, guards_HP], dim=1)
    weights_P = torch.cat([weights_P, guard])
    model = _Model(points=points_HP, weights=weights_P, before=before, after=after, free=free)
    return model.fit(start)


def condense(z_NH: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted points of every unit, [H, P] and [P]: the weights add up to the number of rows."""
    rows = len(z_NH)
    sorted_HN = z_NH.t().float().contiguous().sort(dim=1).values.double()
    if rows <= 2 * TIPS + GROUPS:
        return sorted_HN, torch.ones(rows, dtype=torch.float64, device=z_NH.device)
    size = (rows - 2 * TIPS) // GROUPS
    low = TIPS + (rows - 2 * TIPS - size * GROUPS)  # what does not fill a group stands alone, at the low end
    middle = sorted_HN[:, low : rows - TIPS].reshape(len(sorted_HN), GROUPS, size).mean(dim=2)
    points = torch.cat([sorted_HN[:, :low], middle, sorted_HN[:, rows - TIPS :]], dim=1)
    weights = torch.ones(points.shape[1], dtype=torch.float64, device=z_NH.device)
    weights[low : low + GROUPS] = size
    return points, weights


def _guards(points_HP: Tensor, rows: float) -> tuple[Tensor, Tensor]:
    """Pseudo-points over the range seen and half of it more on each side, [H, G], and their weights [G]."""
    low, high = points_HP.amin(dim=1, keepdim=True), points_HP.amax(dim=1, keepdim=True)
    grid = torch.linspace(-1.0, 1.0, GUARDS, dtype=points_HP.dtype, device=points_HP.device)
    guards = (low + high) / 2 + (high - low) * grid[None, :]
    return guards, torch.full((GUARDS,), GUARD_WEIGHT * rows / GUARDS).to(points_HP)


@dataclass(frozen=True, kw_only=True)
class _Model:
    """The fit of all units side by side; points [H, P], weights [P].

    The constants are the rows of one tensor: beta, shift, scale, slope, offset.
    """

    points: Tensor
    weights: Tensor
    before: str
    after: str
    free: Free

    def fit(self, start: Constants) -> Constants:
        target_HP = activations.get(self.before).torch(self.points)
        act: Function = activations.get(self.after).torch
        moving = [
            0,
            2,
            *(index for index, free in ((1, self.free.shift), (3, self.free.slope), (4, self.free.offset)) if free),
        ]
        values_5H = torch.stack([start.beta, start.shift, start.scale, start.slope, start.offset]).to(self.points)
        damping_H = torch.full_like(values_5H[0], 1e-3)
        loss_H = self._loss(act, values_5H, target_HP)
        for _ in range(STEPS):
            step_HC = self._step(act, values_5H, target_HP, moving, damping_H)
            tried_5H = values_5H.clone()
            tried_5H[moving] -= step_HC.t()
            tried_H = self._loss(act, tried_5H, target_HP)
            better_H = tried_H < loss_H  # False for NaN
            values_5H = torch.where(better_H, tried_5H, values_5H)
            loss_H = torch.where(better_H, tried_H, loss_H)
            damping_H = torch.where(better_H, damping_H / 5, damping_H * 8).clamp(1e-9, 1e9)
        beta, shift, scale, slope, offset = values_5H.cpu()
        return Constants(beta=beta, shift=shift, scale=scale, slope=slope, offset=offset)

    def _loss(self, act: Function, values_5H: Tensor, target_HP: Tensor) -> Tensor:
        beta, shift, scale, slope, offset = values_5H[:, :, None]
        error = (scale + slope * self.points) * act(beta * self.points + shift) + offset - target_HP
        return error.square() @ self.weights

    def _step(
        self, act: Function, values_5H: Tensor, target_HP: Tensor, moving: list[int], damping_H: Tensor
    ) -> Tensor:
        """The damped Gauss-Newton step of every unit, [H, C]."""
        z = self.points
        beta, shift, scale, slope, offset = values_5H[:, :, None]
        with torch.enable_grad():
            inner = (beta * z + shift).detach().requires_grad_()
            bent = act(inner)
            (bend,) = torch.autograd.grad(bent.sum(), inner)
        bent = bent.detach()
        factor = scale + slope * z
        error = factor * bent + offset - target_HP
        columns = (factor * bend * z, factor * bend, bent, z * bent, torch.ones_like(bent))
        jacobian_HCP = torch.stack([columns[index] for index in moving], dim=1)
        weighted_HCP = jacobian_HCP * self.weights
        normal_HCC = weighted_HCP @ jacobian_HCP.transpose(1, 2)
        gradient_HC = (weighted_HCP @ error[:, :, None])[:, :, 0]
        size_HC = torch.diagonal(normal_HCC, dim1=1, dim2=2)
        ridge_HC = size_HC * damping_H[:, None] + size_HC.mean(dim=1, keepdim=True) * 1e-9 + 1e-30
        return torch.linalg.solve(normal_HCC + torch.diag_embed(ridge_HC), gradient_HC)
