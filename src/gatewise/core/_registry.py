"""A lazy table of plug-ins: listing its names imports nothing, taking one imports one file."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

from ._errors import unknown_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to plug-ins of one kind.

    `table` maps a name to `"module:object"`; a module that starts with a dot is relative to `package`.
    Third parties add entries through the entry-point group `gatewise.<group>`; a built-in name wins over
    an entry point of the same name, so that installing a package never changes what a known name means.
    """

    def __init__(self, kind: str, *, group: str, package: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = f"gatewise.{group}"
        self.package = package
        self.table = dict(table)
        self._loaded: dict[str, T] = {}

    @cached_property
    def _third_party(self) -> "dict[str, EntryPoint]":
        from importlib.metadata import entry_points  # keeps `gatewise --help` light

        return {point.name: point for point in entry_points(group=self.group) if point.name not in self.table}

    def __iter__(self) -> Iterator[str]:
        yield from self.table
        yield from self._third_party

    def __len__(self) -> int:
        return len(self.table) + len(self._third_party)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.table or name in self._third_party)

    def __getitem__(self, name: str) -> T:
        """Import and return one plug-in. Raises `GatewiseError` with the nearest name when there is none."""
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise unknown_name(self.kind, name, self)
        if name not in self._loaded:
            if name in self.table:
                module, _, attribute = self.table[name].partition(":")
                self._loaded[name] = getattr(import_module(module, self.package), attribute)
            elif name in self._third_party:
                self._loaded[name] = self._third_party[name].load()
            else:
                raise unknown_name(self.kind, name, self)
        return self._loaded[name]
