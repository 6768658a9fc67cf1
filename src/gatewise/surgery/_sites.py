"""Finding the sites of a model: every place where an activation or an FFN stands, each counted once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from torch import nn

from ._blocks import Adapter, Block, Slot
from ._recognise import Recogniser
from ._tree import children, has_hooks, own_parameters
from .adapters import ADAPTERS


@dataclass(frozen=True, kw_only=True)
class Site:
    """One place in a model where an activation or an FFN stands.

    Attributes:
        path: where the activation is, as in `model.get_submodule`.
        kind: `ffn` where the two Linear layers around it are known, else `activation`.
        family: the adapter that found it.
        before: the activation's name; the class or function name where it computes none of the known ones.
        named: whether `before` is the name of a known activation.
        parameters: numbers in the two Linear layers (0 for a bare activation).
        gateable: whether a gate can be put here.
        obstacle: why not, where it cannot.
        aliases: further paths at which the same objects stand.
    """

    path: str
    kind: Literal["ffn", "activation"]
    family: str
    before: str
    named: bool = True
    parameters: int = 0
    gateable: bool = False
    obstacle: str = ""
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


class Paths:
    """All paths of every module of a model, also those of shared ones."""

    def __init__(self, model: nn.Module) -> None:
        self._paths: dict[int, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self._paths.setdefault(id(module), []).append(path)

    def of(self, slot: Slot) -> list[str]:
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
        where = [path for block in blocks for path in paths.of(block.act)]
        known = recognise(first.act.value)
        assert known is not None  # an adapter never returns a block without an activation
        obstacle = sharing.obstacle(blocks)
        up, down = (cast("nn.Linear | None", _held(slot)) for slot in (first.up, first.down))
        site = Site(
            path=where[0],
            kind="activation" if up is None else "ffn",
            family=family,
            before=known.label,
            named=known.name is not None,
            parameters=_numbers(up) + _numbers(down),
            gateable=not obstacle,
            obstacle=obstacle,
            aliases=tuple(where[1:]),
        )
        found.append(FoundSite(site=site, adapter=ADAPTERS[family], blocks=tuple(blocks), up=up, down=down))
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
        self._holders: dict[int, set[tuple[int, str]]] = {}
        self._owners: dict[int, set[int]] = {}
        for module in model.modules():
            for name, child in children(module).items():
                self._holders.setdefault(id(child), set()).add((id(module), name))
            for parameter in own_parameters(module):
                self._owners.setdefault(id(parameter), set()).add(id(module))

    def obstacle(self, blocks: list[Block]) -> str:
        """Why no gate can be put into these blocks, or an empty string."""
        for part in ("up", "down"):
            slots: list[Slot | None] = [block.up if part == "up" else block.down for block in blocks]
            linear = _held(slots[0])
            if linear is None:
                return "a gate needs the Linear layers around the activation; this one stands alone"
            if type(linear) is not nn.Linear:
                return f"its {part} layer is a {type(linear).__name__}, not a plain nn.Linear"
            if has_hooks(linear):
                return f"its {part} layer carries hooks that a new matrix would lose"
            if self._holders[id(linear)] != {slot.key for slot in slots if slot is not None}:
                return f"its {part} layer is also used elsewhere in the model"
            if any(len(self._owners[id(weight)]) > 1 for weight in linear.parameters()):
                return f"the weights of its {part} layer are tied to another module"
        return ""


def _numbers(linear: nn.Linear | None) -> int:
    return 0 if linear is None else sum(weight.numel() for weight in linear.parameters())


def _held(slot: Slot | None) -> object:
    return None if slot is None else slot.value
