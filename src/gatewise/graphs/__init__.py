"""Models as graphs of operations, and which activations they really compute: found by numbers, needing no framework."""

from ._graph import Array as Array
from ._graph import Constant as Constant
from ._graph import Graph as Graph
from ._graph import Kind as Kind
from ._graph import Node as Node
from ._site import Found as Found
from ._site import Site as Site
