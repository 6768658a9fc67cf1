"""Models as graphs of operations, and which activations they really compute: found by numbers, needing no framework."""

from ._dtypes import BITS as BITS
from ._dtypes import num_bytes as num_bytes
from ._graph import Array as Array
from ._graph import Constant as Constant
from ._graph import Evaluate as Evaluate
from ._graph import Graph as Graph
from ._graph import Kind as Kind
from ._graph import Node as Node
from ._graph import Shape as Shape
from ._identity import identify_scalar as identify_scalar
from ._identity_gate import identify_gate as identify_gate
from ._onnx import read_onnx as read_onnx
from ._openvino import read_openvino as read_openvino
from ._pointwise import POINTWISE as POINTWISE
from ._pointwise import pointwise as pointwise
from ._regions import find_sites as find_sites
from ._site import Found as Found
from ._site import Left as Left
from ._site import Line as Line
from ._site import Site as Site
from ._weights import StoredTensor as StoredTensor
from ._weights import content_hash as content_hash
from ._weights import read_safetensors_header as read_safetensors_header
from ._weights import read_weights as read_weights
