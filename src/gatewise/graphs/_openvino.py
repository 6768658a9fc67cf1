"""OpenVINO IR files as graphs: read here, without OpenVINO."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from gatewise.core import GatewiseError

from ._draft import Draft
from ._graph import Graph, Kind
from ._onnx_file import read_bytes
from ._op import Op
from ._openvino_file import NEWEST_OPSET, IrFile, dtype_name, open_ir, sizes
from ._openvino_rules import apply, fold

Port = tuple[str, str]
"""A layer's id and one of its ports."""
_DEEPEST = 32


def read_openvino(path: Path) -> Graph:
    """The graph of an OpenVINO IR, from its XML; weights are read from the .bin beside it when asked for.

    Raises `GatewiseError` with one or two lines for a file that is missing, cut off, of a version that is not known, or
    whose weights are missing or too short.
    """
    file = open_ir(path, read_bytes(path, "IR's XML"))
    draft = Draft(source=str(path))
    try:
        inputs, outputs = _Body(draft=draft, file=file, net=file.net, prefix="", depth=0).read({})
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        what = str(error).splitlines()[0] if str(error) else "a part is missing"
        raise GatewiseError(f"{path} is damaged: {type(error).__name__}: {what[:200]}") from error
    opsets = sorted({layer.get("version", "") for layer in file.net.iter("layer")} - {""})
    runtime = file.net.find("rt_info/Runtime_version")
    facts = {
        "ir_version": int(file.net.get("version", "0")),
        "opsets": opsets,
        "producer": "OpenVINO " + (runtime.get("value", "") if runtime is not None else ""),
    }
    return draft.graph("openvino", list(inputs.values()), list(outputs.values()), facts)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Body:
    """One list of layers: the model's, or that of a loop's body or a branch."""

    draft: Draft
    file: IrFile
    net: Element
    prefix: str
    depth: int

    def read(self, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Add the nodes. `given`: values for parameters, by layer id. Gives inputs and outputs, by layer id."""
        layers = {layer.get("id", ""): layer for layer in self.net.findall("layers/layer")}
        if not layers or self.depth > _DEEPEST:
            raise GatewiseError(f"{self.file.path}: {self.prefix or 'the model'} has no layers, or is nested too deep")
        sources: dict[Port, Port] = {}
        for edge in self.net.findall("edges/edge"):
            source = (edge.get("from-layer", ""), edge.get("from-port", ""))
            sources[edge.get("to-layer", ""), edge.get("to-port", "")] = source
            for port in (source, (edge.get("to-layer", ""), "")):
                if port[0] not in layers:
                    raise GatewiseError(f"{self.file.path}: an edge names layer {port[0]!r}, which does not exist")
        values: dict[Port, str] = {}
        inputs: dict[str, str] = {}
        outputs: dict[str, str] = {}
        for number in self._order(layers, sources):
            layer = layers[number]
            wanted = [sources.get((number, port.get("id", ""))) for port in layer.findall("input/port")]
            lost = [port for port in wanted if port is not None and port not in values]
            if lost:
                raise GatewiseError(f"{self.file.path}: {_label(layer)} reads port {lost[0]}, which does not exist")
            names = ["" if port is None else values[port] for port in wanted]
            if layer.get("type") == "Result":
                outputs[number] = names[0]
                continue
            made = self._layer(layer, names, given.get(number))
            values.update({(number, port): name for port, name in made.items()})
            if layer.get("type") == "Parameter":
                inputs[number] = next(iter(made.values()))
        return inputs, outputs

    def _order(self, layers: Mapping[str, Element], sources: Mapping[Port, Port]) -> Sequence[str]:
        """Layers so that each stands behind those it reads, else as in the file."""
        reads: dict[str, set[str]] = {number: set() for number in layers}
        for (number, _), (source, _) in sources.items():
            reads[number].add(source)
        followers: dict[str, list[str]] = {number: [] for number in layers}
        for number, needed in reads.items():
            for source in needed:
                followers[source].append(number)
        place = {number: index for index, number in enumerate(layers)}
        ready = [place[number] for number, needed in reads.items() if not needed]
        heapq.heapify(ready)
        listed, found = list(layers), list[str]()
        while ready:
            number = listed[heapq.heappop(ready)]
            found.append(number)
            for follower in followers[number]:
                reads[follower].discard(number)
                if not reads[follower]:
                    heapq.heappush(ready, place[follower])
        if len(found) < len(layers):
            raise GatewiseError(f"{self.file.path}: the graph has a cycle")
        return found

    def _layer(self, layer: Element, inputs: Sequence[str], given: str | None) -> dict[str, str]:
        """Add one layer; gives the names of its values by port."""
        kind, name = layer.get("type", ""), layer.get("name", "") or layer.get("id", "")
        self._check_version(layer)
        label = f"{self.prefix}/{name}" if self.prefix else name
        ports = layer.findall("output/port")
        made = {
            port.get("id", ""): self.draft.unique(label if len(ports) == 1 else f"{label}:{place}")
            for place, port in enumerate(ports)
        }
        data = layer.find("data")
        attributes = {} if data is None else {key: _plain(value) for key, value in data.attrib.items()}
        for port in ports:
            self._describe(made[port.get("id", "")], port)
        outputs = list(made.values())
        if not outputs:
            return made
        if kind == "Const":
            return self._constant(made, {} if data is None else data.attrib, label)
        if kind == "Parameter":
            self._parameter(outputs[0], "" if data is None else data.get("shape", ""), given)
            return made
        op = Op(
            draft=self.draft,
            name=kind,
            path=label,
            inputs=inputs,
            outputs=outputs,
            attributes=attributes,
            opset=int(layer.get("version", "")[5:] or 0) if _is_opset(layer) else 0,
        )
        nested = [part for part in layer if part.tag.endswith("body")]
        if nested:
            self._control(layer, op, nested)
            return made
        key = (*op.key, self.draft.dtypes.get(outputs[0]))
        if inputs and key in self.draft.made:
            return dict(zip(made, self.draft.made[key], strict=True))
        if fold(op):
            self.draft.made[key] = tuple(outputs)
        else:
            apply(op)
        return made

    def _constant(self, made: dict[str, str], data: Mapping[str, str], label: str) -> dict[str, str]:
        """Enter a Const; the same bytes under another name are the same constant."""
        key = ("Const", *(data.get(part) for part in ("element_type", "shape", "offset", "size")))
        port, name = next(iter(made.items()))
        if key not in self.draft.made:
            shape, dtype, load = self.file.constant(data, label)
            self.draft.add_constant(name, shape, dtype, load)
            self.draft.made[key] = (name,)
        return {port: self.draft.made[key][0]}

    def _check_version(self, layer: Element) -> None:
        version, kind = layer.get("version", ""), layer.get("type", "")
        if _is_opset(layer) and not 1 <= int(version[5:]) <= NEWEST_OPSET:
            raise GatewiseError(
                f"{self.file.path}: {_label(layer)} is of {version}, which is not known here; known: opset1 to "
                f"opset{NEWEST_OPSET}"
            )
        if not _is_opset(layer):
            full = f"{version}.{kind}" if version else kind
            self.draft.unknown[full] = self.draft.unknown.get(full, 0) + 1

    def _describe(self, name: str, port: Element) -> None:
        """Shape and dtype as the port tells them; no dimension at all may mean an unknown rank, so it tells nothing."""
        if precision := port.get("precision"):
            self.draft.dtypes[name] = dtype_name(precision)
        dims = [int(dim.text or "-1") for dim in port.findall("dim")]
        if dims:
            self.draft.shapes[name] = tuple(dim if dim >= 0 else None for dim in dims)

    def _parameter(self, name: str, shape: str, given: str | None) -> None:
        if name not in self.draft.shapes and "..." not in shape:
            self.draft.shapes[name] = tuple(size if size >= 0 else None for size in sizes(shape))
        if self.depth:
            about = {"inside": self.prefix.rpartition("/")[2]}
            inputs = [given] if given else []
            self.draft.emit("Parameter", self.prefix, inputs, name, kind=Kind.OTHER, attributes=about)

    def _control(self, layer: Element, op: Op, nested: Sequence[Element]) -> None:
        """The nodes of the bodies, then one node for each output: it reads what the bodies give for it."""
        outside = dict(zip((port.get("id", "") for port in layer.findall("input/port")), op.inputs, strict=True))
        results: dict[str, list[str]] = {}
        for body in nested:
            ports = layer.find(body.tag.replace("body", "port_map"))
            given: dict[str, str] = {}
            for link in [] if ports is None else ports.findall("input"):
                given[link.get("internal_layer_id", "")] = outside.get(link.get("external_port_id", ""), "")
            prefix = f"{op.path}/{body.tag}"
            inner = _Body(draft=self.draft, file=self.file, net=body, prefix=prefix, depth=self.depth + 1)
            _, outputs = inner.read(given)
            for link in [] if ports is None else ports.findall("output"):
                value = outputs.get(link.get("internal_layer_id", ""))
                if value:
                    results.setdefault(link.get("external_port_id", ""), []).append(value)
        first = op.inputs[:1] if op.name == "If" else op.inputs
        for place, port in enumerate(layer.findall("output/port")):
            op.emit(Kind.OTHER, [*first, *results.get(port.get("id", ""), [])], place, output=place)


def _is_opset(layer: Element) -> bool:
    version = layer.get("version", "")
    return version.startswith("opset") and version[5:].isdigit()


def _label(layer: Element) -> str:
    return f"{layer.get('type', 'a layer')} {layer.get('name', '')!r}"


def _plain(text: str) -> Any:
    """An attribute's text as a truth value, a number, a list of numbers, or itself."""
    if text in ("true", "false"):
        return text == "true"
    try:
        if "," in text:
            return [float(part) if "." in part or "e" in part.lower() else int(part) for part in text.split(",")]
        return float(text) if any(mark in text for mark in ".eEnN") else int(text)
    except ValueError:
        return text
