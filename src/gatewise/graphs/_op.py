"""One operation of a file as the rules see it: names of the whole graph, attributes as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._draft import Draft
from ._graph import Kind
from ._pointwise import pointwise


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """What a rule is given.

    Attributes:
        name: `Erf`, `com.microsoft.FastGelu`.
        inputs, outputs: "" for what is left out.
        opset: the version of the operator set it belongs to.
    """

    draft: Draft
    name: str
    path: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]
    opset: int

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for operations that give equal values."""
        return (self.name, tuple(self.inputs), repr(sorted(self.attributes.items())), len(self.outputs))

    def input(self, place: int) -> str:
        """The name of an input, "" where it is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""

    def is_constant(self, place: int) -> bool:
        """Whether that input is there and constant."""
        return self.input(place) in self.draft.constants

    def numbers(self, place: int, attribute: str) -> list[int] | None:
        """Whole numbers given as an attribute (old operator sets) or as a constant input; None where neither is."""
        if attribute in self.attributes:
            found = self.attributes[attribute]
            return [int(number) for number in found] if isinstance(found, list | tuple) else [int(found)]
        return self.draft.numbers(self.input(place)) if self.input(place) else None

    def emit(self, kind: Kind, inputs: Sequence[str] | None = None, place: int = 0, **more: Any) -> None:
        """The node of one output; `more` adds to the attributes. Nothing where that output is left out."""
        if place < len(self.outputs) and self.outputs[place]:
            taken = self.inputs if inputs is None else inputs
            attributes = {**self.attributes, **more}
            self.draft.emit(self.name, self.path, taken, self.outputs[place], kind=kind, attributes=attributes)

    def others(self, start: int = 1, kind: Kind = Kind.OTHER) -> None:
        """The nodes of the outputs from `start` on."""
        for place in range(start, len(self.outputs)):
            self.emit(kind, None, place, **({"output": place} if len(self.outputs) > 1 else {}))

    def pointwise(
        self, inputs: Sequence[str], output: str, *, like: str | None = None, inside: bool = False, **settings: Any
    ) -> str:
        """A POINTWISE node that computes what the table says of `like` (its own name if None) with these settings."""
        name = like or self.name
        present = tuple(place for place, value in enumerate(inputs) if value)
        evaluate = pointwise(name, {**settings, "present": present})
        attributes = {**settings, "inside": self.name} if inside else {**self.attributes, **settings}
        op = name if inside else self.name
        named = [value for value in inputs if value]
        return self.draft.emit(
            op, self.path, named, output, kind=Kind.POINTWISE, evaluate=evaluate, attributes=attributes
        )
