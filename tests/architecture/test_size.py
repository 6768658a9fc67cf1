"""Files and functions stay small, no drawer for everything, no error swallowed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "gatewise"

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_POSITIONAL = 6
MAX_PARAMETERS = 8
TEXT = {".py", ".pyi", ".html", ".j2", ".css", ".js", ".ts", ".sql", ".toml"}
DRAWERS = {"util", "utils", "common", "helper", "helpers", "misc"}
BROAD = {"Exception", "BaseException"}


def problems(root: Path) -> list[str]:
    """What is too big or badly named below `root`, as `file:line: explanation`."""
    found: list[str] = []
    for path in sorted(path for path in root.rglob("*") if path.suffix in TEXT):
        where = path.relative_to(root.parent)
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > MAX_FILE_LINES:
            found.append(f"{where}: {lines} lines, at most {MAX_FILE_LINES}")
        if path.stem.strip("_") in DRAWERS:
            found.append(f"{where}: name the file after what it does")
        if path.suffix == ".py":
            found += [f"{where}:{problem}" for problem in _problems_in(ast.parse(text, filename=str(path)))]
    return found


def _problems_in(tree: ast.Module) -> Iterator[str]:
    methods = {id(child) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for child in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _problems_of(node, is_method=id(node) in methods)
        if isinstance(node, ast.ExceptHandler) and _swallows(node):
            yield f"{node.lineno}: a broad except that only passes or returns hides every error"


def _problems_of(function: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool) -> Iterator[str]:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if lines > MAX_FUNCTION_LINES:
        yield f"{function.lineno}: {function.name} has {lines} lines, at most {MAX_FUNCTION_LINES}"
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in function.decorator_list)
    positional = [*function.args.posonlyargs, *function.args.args][1 if is_method and not static else 0 :]
    total = len(positional) + len(function.args.kwonlyargs)
    if len(positional) > MAX_POSITIONAL:
        counted = f"{len(positional)} positional parameters, at most {MAX_POSITIONAL}"
        yield f"{function.lineno}: {function.name} has {counted}"
    if total > MAX_PARAMETERS:
        yield f"{function.lineno}: {function.name} has {total} parameters, at most {MAX_PARAMETERS}; make a dataclass"


def _swallows(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    broad = any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in caught)
    return broad and all(_does_nothing(statement) for statement in handler.body)


def _does_nothing(statement: ast.stmt) -> bool:
    is_ellipsis = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_ellipsis or isinstance(statement, ast.Pass | ast.Return | ast.Continue | ast.Break)


def test_real_tree_is_small() -> None:
    assert any(SOURCE.rglob("*.py"))
    assert problems(SOURCE) == []


_LONG_FUNCTION = "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES
_LONG_METHOD = "class C:\n    def f():\n" + "        x = 1\n" * MAX_FUNCTION_LINES
BROKEN = {
    "long file": ("core/judge.py", "x = 1\n" * (MAX_FILE_LINES + 1), "401 lines"),
    "long template": ("report/page.html", "<p>\n" * (MAX_FILE_LINES + 1), "401 lines"),
    "long function": ("core/judge.py", _LONG_FUNCTION, "f has 61 lines"),
    "long method": ("core/judge.py", _LONG_METHOD, "f has 61 lines"),
    "drawer": ("core/utils.py", "", "name the file"),
    "private drawer": ("core/_helpers.py", "", "name the file"),
    "seven positional": ("core/judge.py", "def f(a, b, c, d, e, f, g): ...\n", "7 positional parameters"),
    "seven positional in a method": (
        "core/judge.py",
        "class C:\n    def f(self, a, b, c, d, e, f, g): ...\n",
        "7 positional parameters",
    ),
    "nine in all": ("core/judge.py", "def f(a, *, b, c, d, e, f, g, h, i): ...\n", "9 parameters"),
    "bare except": ("core/judge.py", "try: x\nexcept: pass\n", "hides every error"),
    "except Exception: return": (
        "core/judge.py",
        "def f():\n    try: return x\n    except Exception: return True, None\n",
        "hides every error",
    ),
    "broad among others": ("core/judge.py", "try: x\nexcept (OSError, BaseException): ...\n", "hides every error"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_is_caught(tmp_path: Path, case: str) -> None:
    name, text, expected = BROKEN[case]
    path = tmp_path / "gatewise" / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    found = problems(tmp_path / "gatewise")
    assert len(found) == 1
    assert expected in found[0]


def test_files_at_the_limit_pass(tmp_path: Path) -> None:
    function = "def f(self, a, b, c, d, e, *, g, h):\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1)
    handler = "try: x\nexcept OSError: pass\ntry: x\nexcept Exception as error:\n    raise SystemExit from error\n"
    path = tmp_path / "gatewise" / "judge.py"
    path.parent.mkdir()
    path.write_text(function + handler + "x = 1\n" * (MAX_FILE_LINES - 60 - 5), encoding="utf-8")
    assert problems(path.parent) == []
