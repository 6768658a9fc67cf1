"""Activations written in pieces, in an ONNX file, become single operations: recognised, tried, checked, measured."""

from ._optimize import Gain as Gain
from ._optimize import Optimized as Optimized
from ._optimize import Repair as Repair
from ._optimize import optimize as optimize
from ._view import show as show
from ._view import to_json as to_json
