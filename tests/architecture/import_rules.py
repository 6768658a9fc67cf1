"""The import rules of the package, as a function over a source tree.

`violations(root)` reads every Python file below `root` (the folder of the package itself) without importing any, and
says what breaks the rules below. `test_imports.py` runs it on the real tree and on trees that are broken on purpose.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Left to right: a name may import what stands further left, never a sibling and never what stands further right.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("activations",),
    ("kernels",),
    ("graphs",),
    ("tracing",),
    ("surgery",),
    ("workloads",),
    ("runtimes",),
    ("measure", "train"),
    ("robustness", "data_quality", "inspection", "optimize", "scenarios"),
    ("study",),
    ("claims", "doctor", "dilution", "tabular"),
    ("report",),
    ("versions", "monitor"),
    ("serve",),
    ("cli", "functional"),
    ("__main__", "__init__"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Narrower than their layer: these import nothing else from the package.
ONLY = {"report": {"core"}, "functional": {"activations", "kernels"}}
# Third-party packages that a name never imports, not even inside a function.
WITHOUT = {"core": {"torch", "transformers"}, "graphs": {"torch", "transformers"}, "report": {"torch", "transformers"}}
# The version is a constant of the top-level face, which has always run by the time anything below it is imported.
FACE_CONSTANTS = {"__version__"}

LAZY_ENTRY = re.compile(r"(\.*[A-Za-z_][\w.]*):[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One import: the absolute dotted `target`, the `name` taken from it (or None), and whether a table defers it."""

    line: int
    target: str
    name: str | None = None
    lazy: bool = False


@dataclass(frozen=True, kw_only=True)
class Module:
    """One file: its dotted name, the package its relative imports start from, and what it imports."""

    path: Path
    name: str
    package: str
    edges: tuple[Edge, ...]


def violations(root: Path) -> list[str]:
    """What breaks the import rules below `root`, as `file:line: rule: explanation`. Empty when all is well."""
    modules = read_tree(root)
    known = {module.name for module in modules}
    found = _unlayered(root) + _faceless(root)
    graph: dict[str, set[str]] = {module.name: set() for module in modules}
    for module in modules:
        for edge in module.edges:
            target = _module_of(edge, known)
            where = f"{module.path.relative_to(root.parent)}:{edge.line}"
            found += [f"{where}: {problem}" for problem in _judge(root.name, module, edge, target)]
            if target in known and not edge.lazy and _top(target) == _top(module.name):
                graph[module.name].add(target)
    return found + [f"{root.name}: cycle: {' -> '.join(cycle)}" for cycle in _cycles(graph)]


def read_tree(root: Path) -> list[Module]:
    """Every Python file below `root`, parsed."""
    modules: list[Module] = []
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        package = name if is_package else ".".join(parts[:-1])
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        modules.append(Module(path=path, name=name, package=package, edges=tuple(_edges(tree, package))))
    return modules


def _edges(tree: ast.Module, package: str) -> Iterator[Edge]:
    loaders = _names_of_import_module(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Edge(line=node.lineno, target=alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            target = _absolute("." * node.level + (node.module or ""), package)
            yield from (Edge(line=node.lineno, target=target, name=alias.name) for alias in node.names)
        elif isinstance(node, ast.Call):
            literal = _import_module_literal(node, loaders)
            if literal is not None:
                yield Edge(line=node.lineno, target=_absolute(literal, package))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            entry = LAZY_ENTRY.fullmatch(node.value)
            if entry is not None:
                yield Edge(line=node.lineno, target=_absolute(entry[1], package), lazy=True)


def _names_of_import_module(tree: ast.Module) -> set[str]:
    """The bare names that stand for `importlib.import_module` or `__import__` in this file."""
    names = {"__import__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "importlib":
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "import_module"}
    return names


def _import_module_literal(call: ast.Call, loaders: set[str]) -> str | None:
    function = call.func
    loads = (isinstance(function, ast.Attribute) and function.attr == "import_module") or (
        isinstance(function, ast.Name) and function.id in loaders
    )
    arguments = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
    if loads and arguments and isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str):
        return arguments[0].value
    return None


def _absolute(dotted: str, package: str) -> str:
    """Resolves leading dots the way Python does; more dots than packages leaves a name no layer knows."""
    level = len(dotted) - len(dotted.lstrip("."))
    if level == 0:
        return dotted
    base = package.split(".")
    return ".".join([*base[: max(len(base) - level + 1, 0)], *filter(None, [dotted[level:]])])


def _module_of(edge: Edge, known: set[str]) -> str:
    """`from a import b` is an import of `a.b` where that is a module, else of `a`."""
    if edge.name is not None and f"{edge.target}.{edge.name}" in known:
        return f"{edge.target}.{edge.name}"
    return edge.target


def _top(dotted: str) -> str:
    """The name that has the layer: `core` for `gatewise.core._errors`; the face itself is `__init__`."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _judge(project: str, module: Module, edge: Edge, target: str) -> Iterator[str]:
    source = _top(module.name)
    if target.split(".")[0] != project:
        banned = WITHOUT.get(source, set())
        if target.split(".")[0] in banned:
            yield f"forbidden: {source} must not import {target}"
        return
    destination = _destination(edge, target)
    if destination == source:
        return
    if destination == "__init__" and edge.name in FACE_CONSTANTS:
        return
    yield from _judge_direction(source, destination)
    path = target.split(".")[2:] + ([edge.name] if edge.name is not None and destination != "__init__" else [])
    hidden = [part for part in path if part.startswith("_") and not part.startswith("__")]
    if hidden:
        yield f"private: {source} reaches into {destination} for {hidden[0]}; use what {destination} makes public"


def _destination(edge: Edge, target: str) -> str:
    """The layer name an edge points at; `from gatewise import core` points at core even where that is missing."""
    if "." not in target and edge.name in RANK:
        return edge.name
    return _top(target)


def _judge_direction(source: str, destination: str) -> Iterator[str]:
    if source not in RANK or destination not in RANK:
        missing = source if source not in RANK else destination
        yield f"unlayered: {source} -> {destination}, and {missing} has no layer"
    elif RANK[destination] == RANK[source]:
        yield f"sibling: {source} imports its sibling {destination}"
    elif RANK[destination] > RANK[source]:
        yield f"upward: {source} imports {destination}, which stands further right"
    elif source in ONLY and destination not in ONLY[source]:
        yield f"narrow: {source} imports {destination}, but may import only {', '.join(sorted(ONLY[source]))}"


def _unlayered(root: Path) -> list[str]:
    names = {path.stem for path in root.glob("*.py")}
    names |= {path.name for path in root.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    return [f"{root.name}/{name}: unlayered: add it to LAYERS" for name in sorted(names - set(RANK))]


def _faceless(root: Path) -> list[str]:
    folders = {path.parent for path in root.rglob("*.py")}
    bare = sorted(folder for folder in folders if not (folder / "__init__.py").is_file())
    return [f"{folder.relative_to(root.parent)}: faceless: a package needs an __init__.py" for folder in bare]


def _cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """One cycle for every group of modules that reach each other (a module that imports itself counts)."""
    reach = {start: _reachable(graph, start) for start in graph}
    found: list[list[str]] = []
    seen: set[str] = set()
    for start in sorted(graph):
        group = sorted(other for other in reach[start] if start in reach[other])
        if group and start not in seen:
            seen |= set(group)
            found.append(group)
    return found


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    stack = list(graph[start])
    while stack:
        node = stack.pop()
        if node not in reached:
            reached.add(node)
            stack += graph[node]
    return reached
