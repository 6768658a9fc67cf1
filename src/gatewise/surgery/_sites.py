"""Finding the sites of a model: every place where an activation or an FFN stands, each counted once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn

from gatewise.core import GatewiseError

from ._blocks import Adapter, Block, CallSlot, Slot, half, is_conv1d
from ._calls import FOREIGN
from ._gate import gate_of
from ._recognise import Recogniser
from ._tree import children, has_bias, has_hooks, own_parameters
from .adapters import ADAPTERS


@dataclass(frozen=True, kw_only=True)
class Site:
    """One place in a model where an activation or an FFN stands.

    Attributes:
        path: where the activation is, as in `model.get_submodule`.
        kind: `ffn` where the two Linear layers around it are known, else `activation`.
        family: the adapter that found it.
        before: the activation's name, for a gated FFN the gate's; the class or function name where it computes none of
            the known ones.
        named: whether `before` is the name of a known activation.
        parameters: numbers in the Linear layers (0 for a bare activation).
        gated: whether it is a gated FFN: two Linear layers side by side, one of them bent, their product read.
        gateable: whether a gate can be put here; at a gated FFN, whether anything but another simple gate can.
        obstacle: why not, where it cannot.
        swappable: whether anything can be put here; not so at a functional call in code that torch.fx cannot trace.
        aliases: further paths at which the same objects stand.
    """

    path: str
    kind: Literal["ffn", "activation"]
    family: str
    before: str
    named: bool = True
    parameters: int = 0
    gated: bool = False
    gateable: bool = False
    obstacle: str = ""
    swappable: bool = True
    aliases: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path, *self.aliases)


@dataclass(frozen=True, kw_only=True)
class FoundSite:
    """A site together with the live parts of the model that it is made of."""

    site: Site
    adapter: Adapter
    blocks: tuple[Block, ...]
    up: nn.Linear | None
    down: nn.Linear | None
    gate: nn.Linear | None = None


class Paths:
    """All paths of every module of a model, also those of shared ones."""

    def __init__(self, model: nn.Module) -> None:
        self._paths: dict[int, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self._paths.setdefault(id(module), []).append(path)

    def whole(self, module: nn.Module) -> list[str]:
        """All paths of a module itself."""
        return self._paths[id(module)]

    def of(self, slot: Slot) -> list[str]:
        """All paths of a slot. Raises `GatewiseError` where nothing can be put there."""
        if isinstance(slot, CallSlot) and slot.fixed:
            raise GatewiseError(slot.fixed)
        return self.at(slot)

    def at(self, slot: Slot) -> list[str]:
        """All paths of a slot, whatever can be put there."""
        return [f"{path}.{slot.name}".lstrip(".") for path in self._paths[id(slot.owner)]]


def find_sites(model: nn.Module) -> tuple[Site, ...]:
    """The sites of a model in the order of its modules; empty where there is none. The model is only looked at.

    A module that stands at several paths (weights shared between layers, one activation used everywhere) is one site
    with `aliases`. Activations inside an FFN belong to that FFN and are not listed again.
    """
    return tuple(found.site for found in locate(model))


def looked_for() -> str:
    """What all adapters together look for, for the error when nothing was found."""
    return "; ".join(ADAPTERS[name].looked_for for name in ADAPTERS)


def locate(model: nn.Module) -> list[FoundSite]:
    """The sites with their live parts."""
    recognise = Recogniser()
    paths = Paths(model)
    sharing = _Sharing(model)
    groups: dict[tuple[int, ...], tuple[str, list[Block]]] = {}
    for family, block in _blocks(model, recognise):
        key = tuple(id(slot.value) for slot in (block.up, block.down) if slot) or (id(block.act.value),)
        groups.setdefault(key, (family, []))[1].append(block)
    order = {path: position for position, (path, _) in enumerate(model.named_modules(remove_duplicate=False))}
    found: list[FoundSite] = []
    for family, blocks in groups.values():
        first = blocks[0]
        where = [path for block in blocks for path in paths.at(block.act)]
        known = recognise(first.act.value)
        assert known is not None  # an adapter never returns a block without an activation
        fixed = next((block.fixed for block in blocks if block.fixed), "")
        obstacle = fixed or sharing.obstacle(blocks)
        up, down, gate = (cast("nn.Linear | None", _held(slot)) for slot in (first.up, first.down, first.gate))
        if first.fused is not None and up is not None:
            halves = (half(up, 0), half(up, 1))
            gate, up = halves[first.fused], halves[1 - first.fused]
        before, named = gate_of(known) if gate is not None else (known.label, known.name is not None)
        site = Site(
            path=where[0],
            kind="activation" if up is None else "ffn",
            family=family,
            before=before,
            named=named,
            parameters=_numbers(up) + _numbers(gate) + _numbers(down),
            gated=gate is not None,
            gateable=not obstacle,
            obstacle=obstacle,
            swappable=not fixed,
            aliases=tuple(where[1:]),
        )
        found.append(FoundSite(site=site, adapter=ADAPTERS[family], blocks=tuple(blocks), up=up, down=down, gate=gate))
    # A function attribute has no module path of its own; its owner's place orders it.
    return sorted(found, key=lambda each: order.get(each.site.path, order.get(each.site.path.rpartition(".")[0], 0)))


def _blocks(model: nn.Module, recognise: Recogniser) -> Iterator[tuple[str, Block]]:
    """Every block, by the first adapter that claims its slots. Parts of a composite activation are not looked at."""
    inside: set[int] = set()
    for module in model.modules():
        if id(module) not in inside and next(module.children(), None) is not None and recognise(module) is not None:
            inside.update(id(part) for part in module.modules())
    claimed: set[tuple[int, str]] = set()
    for family in ADAPTERS:
        for module in model.modules():
            if id(module) in inside:
                continue
            for block in ADAPTERS[family].match(module, recognise):
                keys = {slot.key for slot in block.slots}
                if not keys & claimed:
                    claimed |= keys
                    yield family, block


class _Sharing:
    """Who holds which module and which parameter, to see what a new matrix would tear apart."""

    def __init__(self, model: nn.Module) -> None:
        self._root = model
        self._holders: dict[int, set[tuple[int, str]]] = {}
        self._owners: dict[int, set[int]] = {}
        for module in model.modules():
            for name, child in children(module).items():
                self._holders.setdefault(id(child), set()).add((id(module), name))
            for parameter in own_parameters(module):
                self._owners.setdefault(id(parameter), set()).add(id(module))

    def obstacle(self, blocks: list[Block]) -> str:
        """Why no gate can be put into these blocks, or an empty string."""
        gated = blocks[0].gate is not None
        for part in ("up", "gate", "down") if gated else ("up", "down"):
            slots: list[Slot | None] = [getattr(block, part) for block in blocks]
            linear = _held(slots[0])
            if linear is None:
                return "a gate needs the Linear layers around the activation; this one stands alone"
            if not isinstance(linear, nn.Module) or not _is_plain(linear):
                return f"its {part} layer is a {type(linear).__name__}, not a plain nn.Linear"
            if has_hooks(linear):
                return f"its {part} layer carries hooks that a new matrix would lose"
            if self._holders[id(linear)] != {slot.key for slot in slots if slot is not None}:
                return f"its {part} layer is also used elsewhere in the model"
            if any(len(self._owners[id(weight)]) > 1 for weight in linear.parameters()):
                return f"the weights of its {part} layer are tied to another module"
        return self._whole(blocks[0]) if gated else ""

    def _whole(self, block: Block) -> str:
        """Why a gated FFN cannot be replaced as a whole, or an empty string."""
        if block.obstacle:
            return block.obstacle
        if block.act.owner is self._root:
            return "it is the whole model, and has no place in another one"
        if has_hooks(block.act.owner):
            return "it carries hooks that a new block would lose"
        if len({has_bias(slot.value) for slot in block.slots if isinstance(slot.value, nn.Linear)}) > 1:
            return "only some of its layers have a bias"
        return ""


def _is_plain(linear: nn.Module) -> bool:
    """Whether a layer computes x W' + b and holds nothing else: `nn.Linear`, `Conv1D`, and subclasses that do so."""
    if type(linear) is nn.Linear or is_conv1d(linear):
        return True
    held = {**dict(linear.named_parameters()), **dict(linear.named_buffers())}
    if not isinstance(linear, nn.Linear) or set(held) - {"weight", "bias"} or next(linear.children(), None):
        return False
    weight = linear.weight
    if weight.is_meta or type(weight) is not nn.Parameter or not weight.is_floating_point():
        return False
    # In float64, whatever the model's dtype: in bfloat16 a rounding between product and bias (Falcon) looks like more.
    exact = {name: value.detach().double() for name, value in held.items()}
    x = torch.linspace(-2.0, 2.0, 3 * weight.shape[1], dtype=torch.float64).reshape(3, -1).to(weight.device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            got = torch.func.functional_call(linear, exact, (x,))
            wanted = nn.functional.linear(x, exact["weight"], exact.get("bias"))
    except FOREIGN:
        return False
    return got.shape == wanted.shape and torch.allclose(got, wanted, rtol=1e-9, atol=1e-9)


def _numbers(linear: nn.Linear | None) -> int:
    return 0 if linear is None else sum(weight.numel() for weight in linear.parameters())


def _held(slot: Slot | None) -> object:
    return None if slot is None else slot.value
