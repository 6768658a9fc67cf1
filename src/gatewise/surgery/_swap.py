"""Swapping the activations or FFNs of a model: the original stays as it is, the new model comes with a report."""

import copy
from dataclasses import dataclass

from torch import nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._blocks import Change, Flag, Slot, widths
from ._choose import choose
from ._edits import Edit, apply_edit, module_edit, value_edit
from ._gate import gated_hidden, scalar_hidden, simple_gate, start_block, start_gate
from ._random import NoRandomFill
from ._report import SiteChange, SurgeryReport, WeightsState, check_model, combined, history, set_history, weights_state
from ._sites import FoundSite, Paths, locate
from ._tree import has_bias


@dataclass(frozen=True, kw_only=True)
class SwapPlan:
    """How a swap is done: the target, the matching rule of a gate's width, and the seed of new weights."""

    to: str
    matching: str = "params"
    multiple_of: int = 1
    seed: int = 0


def swap(
    model: nn.Module,
    to: str,
    *,
    only: str | list[str] | None = None,
    matching: str = "params",
    multiple_of: int = 1,
    seed: int = 0,
) -> tuple[nn.Module, SurgeryReport]:
    """A copy of the model with another activation or gate in it, and a report of what changed.

    Without `only` all sites are swapped that compute the model's main activation: the most frequent one among FFN
    sites, or among bare activations where there is no FFN. `only` is a glob or a list of globs over site paths (or
    over the modules that hold them) and overrides that rule.

    A scalar keeps all weights of a scalar FFN, and a simple gate (act(gate) * up) those of a gated one. A gate
    (`swiglu`, ...) in a scalar FFN brings two input matrices instead of one, a hidden width by `matching` (`params`,
    `flops` or `none`) and `multiple_of`, and new weights in the whole FFN, drawn from `seed` without touching the
    global random state; so does a scalar in a gated FFN, the other way round. A bare activation takes no gate.

    Raises `GatewiseError` when the name is unknown, no site is found, `only` matches nothing, or a gate is asked for
    at a site that cannot take one.
    """
    check_model(model)
    spec = activations.get(to)
    plan = SwapPlan(to=spec.name, matching=matching, multiple_of=multiple_of, seed=seed)
    try:
        new = copy.deepcopy(model)
    except (RuntimeError, TypeError, ValueError) as error:
        raise GatewiseError(f"the model cannot be copied, so it cannot be swapped: {error}") from error
    chosen, left = choose(locate(new), plan.to, gate=spec.kind == "gate", only=only)
    surgeon = _Surgeon(new, plan)
    before = count_parameters(new)
    changes = _carry_out(surgeon, chosen, gate=spec.kind == "gate")
    state: WeightsState = "original"
    for change in changes:
        state = combined(state, change.weights_state)
    report = SurgeryReport(
        to=plan.to,
        sites=tuple(changes),
        left=tuple(left),
        weights_state=combined(weights_state(model), state),
        parameters_before=before,
        parameters_after=count_parameters(new),
        matching=plan.matching,
    )
    past = history(new)
    record = {
        "weights_state": report.weights_state,
        "edits": [*past["edits"], *surgeon.edits],
        "surgeries": [*past["surgeries"], report.to_json()],
    }
    set_history(new, record)
    return new, report


def _carry_out(surgeon: "_Surgeon", chosen: list[FoundSite], *, gate: bool) -> list[SiteChange]:
    """Swap every chosen site. In a gated FFN a simple gate is its function alone; whatever else is a new block."""
    act = simple_gate(surgeon.plan.to)
    gated = [found for found in chosen if found.site.gated]
    plain = [found for found in chosen if not found.site.gated]
    changes = surgeon.scalar(gated, act) if act is not None else [surgeon.rebuild(found) for found in gated]
    return changes + ([surgeon.gate(found) for found in plain] if gate else surgeon.scalar(plain, surgeon.plan.to))


def count_parameters(model: nn.Module) -> int:
    """Numbers in the parameters, each shared tensor counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


class _Surgeon:
    """Carries out edits on one model and keeps them."""

    def __init__(self, model: nn.Module, plan: SwapPlan) -> None:
        self.model = model
        self.plan = plan
        self.paths = Paths(model)
        self.edits: list[Edit] = []

    def scalar(self, chosen: list[FoundSite], act: str) -> list[SiteChange]:
        """Put the new function everywhere; slots that shared one object share one again."""
        slots: dict[int, list[Slot]] = {}
        changes: list[SiteChange] = []
        for found in chosen:
            hidden = None if found.up is None else widths(found.up)[1]
            flags = self._flags(found, hidden)
            same = found.site.named and found.site.before == self.plan.to
            if not same:
                for block in found.blocks:
                    slots.setdefault(id(block.act.value), []).append(block.act)
            for flag in flags:
                self._set(flag)
            state: WeightsState = "original" if same and not flags else "grafted"
            changes.append(self._change(found, hidden, found.site.parameters, state, flags))
        for group in slots.values():
            self._put(group, "Activation", name=act)
        return changes

    def gate(self, found: FoundSite) -> SiteChange:
        """Put a gated unit in the place of the first Linear and a fresh Linear in the place of the second."""
        up, down = found.up, found.down
        assert up is not None  # `choose` lets no bare activation through
        assert down is not None
        hidden = gated_hidden(up, down, self.plan.matching, self.plan.multiple_of)
        flags = self._flags(found, hidden)
        ups = [block.up for block in found.blocks if block.up]
        downs = [block.down for block in found.blocks if block.down]
        with NoRandomFill():
            unit = self._put(ups, "GatedUnit", dim=widths(up)[0], hidden=hidden, name=self.plan.to, bias=has_bias(up))
            back = self._put(
                downs,
                "Linear",
                in_features=hidden,
                out_features=widths(down)[1],
                bias=has_bias(down),
            )
        self._put([block.act for block in found.blocks], "Identity")
        for flag in flags:
            self._set(flag)
        start_gate(unit, back, (up, down), self.plan.seed, found.site.path)
        after = sum(p.numel() for module in (unit, back) for p in module.parameters())
        return self._change(found, hidden, after, "untrained", flags)

    def rebuild(self, found: FoundSite) -> SiteChange:
        """Put a whole new block in the place of a gated FFN."""
        gate, up, down = found.gate, found.up, found.down
        assert gate is not None  # `swap` sends only gated sites here
        assert up is not None
        assert down is not None
        (dim, wide), bias = widths(up), has_bias(up)
        gated = activations.get(self.plan.to).kind == "gate"
        hidden = wide if gated else scalar_hidden(dim, wide, bias, self.plan.matching, self.plan.multiple_of)
        arguments = {"dim": dim, "hidden": hidden, "activation": self.plan.to, "matching": self.plan.matching}
        with NoRandomFill():
            paths = self.paths.whole(found.blocks[0].act.owner)
            block = self._do(module_edit(paths, "FeedForward", **arguments, bias=bias))
        assert block is not None  # a module edit always makes one
        start_block(block, (gate, up, down), self.plan.seed, found.site.path)
        return self._change(found, hidden, count_parameters(block), "untrained", [])

    def _flags(self, found: FoundSite, hidden: int | None) -> list[Flag]:
        before = found.site.before if found.site.named else None
        change = Change(before=before, to=self.plan.to, hidden=hidden or 0)
        return [flag for block in found.blocks for flag in found.adapter.flags(self.model, block, change)]

    def _put(self, slots: list[Slot], kind: str, **arguments: object) -> nn.Module:
        new = self._do(module_edit([self.paths.of(slot)[0] for slot in slots], kind, **arguments))
        assert new is not None  # a module edit always makes one
        return new

    def _set(self, flag: Flag) -> None:
        self._do(value_edit(self.paths.of(flag.slot)[:1], flag.value))

    def _do(self, edit: Edit) -> nn.Module | None:
        self.edits.append(edit)
        return apply_edit(self.model, edit)

    def _change(
        self, found: FoundSite, hidden: int | None, after: int, state: WeightsState, flags: list[Flag]
    ) -> SiteChange:
        site = found.site
        fused = [flag.value for flag in flags if flag.slot.name == "activation_relu_or_gelu"]
        note = "torch's fused encoder fast path no longer applies" if fused and not fused[0] else ""
        return SiteChange(
            path=site.path,
            before=site.before,
            after=self.plan.to,
            parameters_before=site.parameters,
            parameters_after=after,
            hidden_before=widths(found.up)[1] if found.up is not None else None,
            hidden_after=hidden,
            weights_state=state,
            aliases=site.aliases,
            note=note,
        )
