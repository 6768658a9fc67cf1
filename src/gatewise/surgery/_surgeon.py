"""The surgeon: carries out edits on one model and keeps them as plain data."""

from dataclasses import dataclass

from torch import nn

from gatewise import activations

from ._blocks import Change, Flag, Slot, widths
from ._edits import Edit, apply_edit, module_edit, value_edit
from ._gate import gated_hidden, scalar_hidden, start_block, start_gate
from ._random import NoRandomFill
from ._report import SiteChange, WeightsState
from ._sites import FoundSite, Paths
from ._tree import has_bias


@dataclass(frozen=True, kw_only=True)
class SwapPlan:
    """How a swap is done: the target, the matching rule of a gate's width, and the seed of new weights."""

    to: str
    matching: str = "params"
    multiple_of: int = 1
    seed: int = 0


def count_parameters(model: nn.Module) -> int:
    """Numbers in the parameters, each shared tensor counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


class Surgeon:
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
            flags = self.flags(found, hidden)
            same = found.site.named and found.site.before == self.plan.to
            if not same:
                for block in found.blocks:
                    slots.setdefault(id(block.act.value), []).append(block.act)
            for flag in flags:
                self.set(flag)
            state: WeightsState = "original" if same and not flags else "grafted"
            changes.append(self.change(found, hidden, found.site.parameters, state, flags))
        for group in slots.values():
            self.put(group, "Activation", name=act)
        return changes

    def gate(self, found: FoundSite) -> SiteChange:
        """Put a gated unit in the place of the first Linear and a fresh Linear in the place of the second."""
        up, down = found.up, found.down
        assert up is not None  # `choose` lets no bare activation through
        assert down is not None
        hidden = gated_hidden(up, down, self.plan.matching, self.plan.multiple_of)
        flags = self.flags(found, hidden)
        ups = [block.up for block in found.blocks if block.up]
        downs = [block.down for block in found.blocks if block.down]
        with NoRandomFill():
            unit = self.put(ups, "GatedUnit", dim=widths(up)[0], hidden=hidden, name=self.plan.to, bias=has_bias(up))
            back = self.put(
                downs,
                "Linear",
                in_features=hidden,
                out_features=widths(down)[1],
                bias=has_bias(down),
            )
        self.put([block.act for block in found.blocks], "Identity")
        for flag in flags:
            self.set(flag)
        start_gate(unit, back, (up, down), self.plan.seed, found.site.path)
        after = sum(p.numel() for module in (unit, back) for p in module.parameters())
        return self.change(found, hidden, after, "untrained", flags)

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
            block = self.do(module_edit(paths, "FeedForward", **arguments, bias=bias))
        assert block is not None  # a module edit always makes one
        start_block(block, (gate, up, down), self.plan.seed, found.site.path)
        return self.change(found, hidden, count_parameters(block), "untrained", [])

    def flags(self, found: FoundSite, hidden: int | None) -> list[Flag]:
        before = found.site.before if found.site.named else None
        change = Change(before=before, to=self.plan.to, hidden=hidden or 0)
        return [flag for block in found.blocks for flag in found.adapter.flags(self.model, block, change)]

    def put(self, slots: list[Slot], kind: str, **arguments: object) -> nn.Module:
        new = self.do(module_edit([self.paths.of(slot)[0] for slot in slots], kind, **arguments))
        assert new is not None  # a module edit always makes one
        return new

    def set(self, flag: Flag) -> None:
        self.do(value_edit(self.paths.of(flag.slot)[:1], flag.value))

    def do(self, edit: Edit) -> nn.Module | None:
        self.edits.append(edit)
        return apply_edit(self.model, edit)

    def change(
        self, found: FoundSite, hidden: int | None, after: int, state: WeightsState, flags: list[Flag]
    ) -> SiteChange:
        site = found.site
        fused = [flag.value for flag in flags if flag.slot.name == "activation_relu_or_gelu"]
        note = "torch's fused encoder fast path no longer applies" if fused and not fused[0] else ""
        if note and site.before == "gelu_tanh":
            note += ": where it ran, it computed gelu (erf) for this tanh layer, up to 5e-4 away in every hidden unit"
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
