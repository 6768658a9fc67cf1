"""What really went wrong inside an exporter, in one or two lines."""

import re
from pathlib import Path

MOST_CHARACTERS = 240

_BRANCH = "a branch or a size depends on the data"
_KNOWN = (
    ("GuardOnDataDependentSymNode", _BRANCH),
    ("data-dependent", _BRANCH),
    ("Data-dependent", _BRANCH),
    ("UserErrorType.DYNAMIC_CONTROL_FLOW", _BRANCH),
    ("DynamicOutputShapeException", "an operation's output size depends on the data"),
    ("DataDependentOutputException", _BRANCH),
)
_NO_ONNX = re.compile(r"No ONNX function found for (?:<OpOverload\(op=)?['\"]?([\w.:]+)")
_PLACE = re.compile(r'File "([^"]+)", line (\d+), in (\w+)')


def cause_of(error: BaseException) -> str:
    """The deepest cause of an exporter's error: what happened, the operation, the line of the model's code."""
    chain = _chain(error)
    texts = [f"{type(each).__name__}: {each}" for each in chain]
    for text in texts:
        if found := _NO_ONNX.search(text):
            return f"no ONNX form of the operation {found[1]}"
    what = next((said for text in reversed(texts) for sign, said in _KNOWN if sign in text), None)
    if what is None:
        what = next((line for text in reversed(texts) if (line := _first_line(text))), type(error).__name__)
    place = next((found for each in reversed(chain) if (found := _place(each))), None)
    return f"{what}{f' ({place})' if place else ''}"


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    next_one: BaseException | None = error
    while next_one is not None and next_one not in found:
        found.append(next_one)
        next_one = next_one.__cause__ or next_one.__context__
    return found


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:MOST_CHARACTERS] if lines else ""


def _place(error: BaseException) -> str | None:
    """The last line of the model's own code: neither torch's nor ours."""
    named = _PLACE.findall(str(error))
    frames: list[tuple[str, str, str]] = list(named)
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append((code.co_filename, str(trace.tb_lineno), code.co_name))
        trace = trace.tb_next
    own = [
        frame for frame in frames if not re.search(r"[/\\](torch|onnxscript|gatewise[/\\]runtimes)[/\\]|^<", frame[0])
    ]
    own = [frame for frame in own if frame[2] not in ("<module>",)]
    if not own:
        return None
    path, line, function = own[-1]
    return f"{Path(path).name}, line {line}, in {function}"
