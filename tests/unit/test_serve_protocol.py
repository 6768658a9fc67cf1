"""The Open Inference Protocol, byte by byte: JSON, raw tensors, compression, errors."""

import gzip
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serve_calls import Client, function, request, run, tensor

from gatewise import serve
from gatewise.serve._datatypes import DTYPES, from_bytes, to_bytes

BINARY = "inference-header-content-length"


def binary(inputs: list[tuple[str, str, list[int], bytes]], **more: Any) -> tuple[bytes, dict[str, str]]:
    """A request as the binary tensor extension lays it."""
    head = json.dumps(
        {
            "inputs": [
                {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
                for name, kind, shape, raw in inputs
            ],
            **more,
        }
    ).encode()
    return head + b"".join(raw for *_, raw in inputs), {BINARY: str(len(head))}


def test_json_in_and_out_with_the_id_and_the_version() -> None:
    client = Client([serve.echo()])
    answer = run(lambda: client.infer(request([[1.5, -2.0]], id="42")))
    assert answer.status == 200
    assert answer.json == {
        "model_name": "echo",
        "model_version": "1",
        "id": "42",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0]}],
    }
    (record,) = client.records
    assert (record.request, record.status, record.rows, record.role) == ("42", "ok", 1, "live")


def test_nested_data_is_the_same_as_flat_data() -> None:
    client = Client([serve.echo()])
    nested = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}]}
    assert run(lambda: client.infer(nested)).json["outputs"][0]["data"] == [1, 2, 3, 4]


def test_raw_tensors_in_and_out() -> None:
    client = Client([serve.echo()])
    raw = np.array([[1, 2], [3, 4]], "<f4").tobytes()
    body, headers = binary([("x", "FP32", [2, 2], raw)], parameters={"binary_data_output": True})
    answer = run(lambda: client.infer(body, headers))
    size = int(answer.headers[BINARY])
    assert json.loads(answer.body[:size])["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}}
    ]
    assert answer.body[size:] == raw
    assert answer.headers["content-type"] == "application/octet-stream"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([name for name in DTYPES if name != "BYTES"]), st.integers(1, 9), st.randoms())
def test_every_type_survives_as_raw_bytes(datatype: str, count: int, chance: Any) -> None:
    size = 2 if datatype == "BF16" else DTYPES[datatype].itemsize
    raw = bytes(chance.randrange(2 if datatype == "BOOL" else 256) for _ in range(size * count))
    values = from_bytes("x", datatype, memoryview(raw), count)
    back = to_bytes(datatype, values)
    if datatype == "BF16":  # a signalling NaN may come back quiet
        sane = ~np.isnan(values)
        assert (np.frombuffer(back, "<u2")[sane] == np.frombuffer(raw, "<u2")[sane]).all()
    else:
        assert back == raw


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6))
def test_bytes_survive_as_raw_bytes(values: list[bytes]) -> None:
    raw = b"".join(struct.pack("<I", len(each)) + each for each in values)
    found = from_bytes("x", "BYTES", memoryview(raw), len(values))
    assert found.tolist() == values
    assert to_bytes("BYTES", found) == raw


@given(st.floats(width=32, min_value=0.0, max_value=2.0**126))
def test_bf16_is_rounded_to_the_nearest(value: float) -> None:
    (bits,) = struct.unpack("<H", to_bytes("BF16", np.array([value], np.float32)))
    below, above = (np.array([each << 16], "<u4").view("<f4")[0] for each in (max(bits, 1) - 1, bits + 1))
    (found,) = from_bytes("x", "BF16", memoryview(struct.pack("<H", bits)), 1)
    assert abs(np.float64(found) - value) <= min(abs(np.float64(below) - value), abs(np.float64(above) - value))


@pytest.mark.parametrize("way", ["gzip", "deflate"])
def test_compressed_both_ways(way: str) -> None:
    client = Client([serve.echo()])
    pack = gzip.compress if way == "gzip" else zlib.compress
    headers = {"content-encoding": way, "accept-encoding": way}
    answer = run(lambda: client.infer(pack(json.dumps(request([[1.0]])).encode()), headers))
    assert answer.headers["content-encoding"] == way
    plain = gzip.decompress(answer.body) if way == "gzip" else zlib.decompress(answer.body)
    assert json.loads(plain)["outputs"][0]["data"] == [1.0]


@pytest.mark.parametrize(
    ("accepted", "used"), [("gzip;q=0, deflate;q=0", None), ("gzip;q=0.0, deflate;q=0.5", "deflate")]
)
def test_an_encoding_with_no_weight_is_not_used(accepted: str, used: str | None) -> None:
    client = Client([serve.echo()])
    answer = run(lambda: client.infer(request(np.ones((100, 20)).tolist()), {"accept-encoding": accepted}))
    assert answer.headers.get("content-encoding") == used


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    client = Client([serve.echo()], serve.ServeSettings(max_body_bytes=10_000))
    answer = run(lambda: client.infer(gzip.compress(b" " * 5_000_000), {"content-encoding": "gzip"}))
    assert answer.status == 413


def test_a_body_in_pieces_is_one_body() -> None:
    client = Client([serve.echo()])
    body = json.dumps(request([[1.0, 2.0]])).encode()
    assert run(lambda: client.call("POST", "/v2/models/echo/infer", body, cut=7)).status == 200


def test_the_outputs_that_were_asked_for_in_that_order() -> None:
    ports = [serve.Tensor(name, "FP32", (-1, 1)) for name in "ab"]
    both = serve.Function(
        function=lambda inputs: {"a": inputs["x"], "b": -inputs["x"]},
        inputs=[serve.Tensor("x", "FP32", (-1, 1))],
        outputs=ports,
        model="echo",
    )
    client = Client([both])
    wanted = [{"name": "b"}, {"name": "a", "parameters": {"binary_data": True}}]
    answer = run(lambda: client.infer(request([[2.0]], outputs=wanted)))
    size = int(answer.headers[BINARY])
    found = json.loads(answer.body[:size])["outputs"]
    assert [(each["name"], each.get("data")) for each in found] == [("b", [-2.0]), ("a", None)]
    assert answer.body[size:] == np.float32(2).tobytes()


def test_a_nan_that_the_model_made_is_null_in_json() -> None:
    client = Client([function(lambda x: x * np.float32("nan"))])
    answer = run(lambda: client.infer(request([[1.0]])))
    assert (answer.status, answer.json["outputs"][0]["data"]) == (200, [None])


ONE = tensor([[1.0, 2.0]])
BAD: dict[str, Any] = {
    "not JSON": b"{",
    "empty": b"",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "deep data": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":' + b"[" * 900 + b"]" * 900 + b"}]}",
    "NaN": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[NaN]}]}',
    "no inputs": {},
    "inputs is a number": {"inputs": 3},
    "an input is a number": {"inputs": [3]},
    "unknown input": {"inputs": [{**ONE, "name": "z"}]},
    "a name that is a list": {"inputs": [{**ONE, "name": ["x"]}]},
    "twice": {"inputs": [ONE, ONE]},
    "wrong rank": {"inputs": [{**ONE, "shape": [2]}]},
    "wrong size": {"inputs": [{**ONE, "shape": [1, 3]}]},
    "negative": {"inputs": [{**ONE, "shape": [-1, 2]}]},
    "negative pair": {"inputs": [{**ONE, "shape": [-1, -2]}]},
    "huge": {"inputs": [{**ONE, "shape": [2**40, 2**40]}]},
    "beyond 64 bits": {"inputs": [{**ONE, "shape": [2**70, 1]}]},
    "a truth value as size": {"inputs": [{**ONE, "shape": [True, 2]}]},
    "no rows": {"inputs": [{**ONE, "shape": [0, 2], "data": []}]},
    "wrong type": {"inputs": [{**ONE, "datatype": "INT32"}]},
    "unknown type": {"inputs": [{**ONE, "datatype": "FP31"}]},
    "text as numbers": {"inputs": [{**ONE, "data": ["a", "b"]}]},
    "null as number": {"inputs": [{**ONE, "data": [1, None]}]},
    "an object as number": {"inputs": [{**ONE, "data": [1, {}]}]},
    "ragged": {"inputs": [{**ONE, "data": [[1], [1, 2]]}]},
    "nested another way": {"inputs": [{**ONE, "data": [[1], [2]]}]},
    "data is text": {"inputs": [{**ONE, "data": "12"}]},
    "beyond FP32": {"inputs": [{**ONE, "data": [1e300, 1]}]},
    "id is a number": {"inputs": [ONE], "id": 3},
    "parameters is a list": {"inputs": [ONE], "parameters": []},
    "timeout is text": {"inputs": [ONE], "parameters": {"timeout": "soon"}},
    "unknown output": {"inputs": [ONE], "outputs": [{"name": "z"}]},
    "output twice": {"inputs": [ONE], "outputs": [{"name": "y"}, {"name": "y"}]},
    "shared memory": {"inputs": [{**ONE, "parameters": {"shared_memory_region": "r"}}]},
    "raw size without raw bytes": {"inputs": [{**ONE, "parameters": {"binary_data_size": 8}}]},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_400_and_a_line(name: str) -> None:
    client = Client([serve.echo()])
    answer = run(lambda: client.infer(BAD[name]))
    assert answer.status == 400, answer.body
    assert list(answer.json) == ["error"]
    assert "\n" not in answer.json["error"]
    assert len(answer.json["error"]) < 400
    (record,) = client.records
    assert record.status == "refused"
    assert (record.reason or "").startswith("input: ")


RAW = np.array([[1, 2]], "<f4").tobytes()


@pytest.mark.parametrize(
    ("raw", "length"),
    [(RAW[:-1], None), (RAW + b"x", None), (b"", None), (RAW, "0"), (RAW, "-1"), (RAW, "99999"), (RAW, "1e2"),
     (RAW, "9" * 5000), (RAW, ""), (RAW, "7"), (np.array([np.nan, 1], "<f4").tobytes(), None)],
)  # fmt: skip
def test_a_broken_binary_body_gets_400(raw: bytes, length: str | None) -> None:
    body, headers = binary([("x", "FP32", [1, 2], raw)])
    client = Client([serve.echo()])
    assert run(lambda: client.infer(body, headers if length is None else {BINARY: length})).status == 400


@pytest.mark.parametrize("raw", [b"\x05\0\0\0ab", b"\xff\xff\xff\xff", b"\1\0\0", b"\0\0\0\0x"])
def test_broken_lengths_of_bytes_get_400(raw: bytes) -> None:
    body, headers = binary([("x", "BYTES", [1, 1], raw)])
    client = Client([serve.echo(datatype="BYTES")])
    assert run(lambda: client.infer(body, headers)).status == 400


@pytest.mark.parametrize("datatype", ["INT8", "UINT8", "INT32", "INT64", "UINT64"])
@pytest.mark.parametrize("value", [1.5, 2**64, -(2**63) - 1, True, "1"])
def test_integers_are_not_cut_to_size(datatype: str, value: Any) -> None:
    client = Client([serve.echo(datatype=datatype)])
    document = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1, 1], "data": [value]}]}
    assert run(lambda: client.infer(document)).status == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_nothing_brings_a_500(data: st.DataObject) -> None:
    """Any bytes; and good requests in which one value became another."""
    client = Client([serve.echo(), serve.echo("text", datatype="BYTES")])
    if data.draw(st.booleans()):
        body: bytes = data.draw(st.binary(max_size=60))
    else:
        document = request([[1.0, 2.0]], id="a", parameters={}, outputs=[{"name": "y", "parameters": {}}])
        where = data.draw(st.sampled_from([document, document["inputs"][0], document["outputs"][0]]))
        where[data.draw(st.sampled_from(sorted(where)))] = data.draw(json_values)
        body = json.dumps(document).encode()
    headers = data.draw(st.sampled_from([{}, {BINARY: "5"}, {BINARY: str(len(body))}, {"content-encoding": "gzip"}]))
    answer = run(lambda: client.infer(body, headers, data.draw(st.sampled_from(["echo", "text", "echo/versions/1"]))))
    assert answer.status in (200, 400), answer.body
    client.close()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v2/models/nope/infer", {}, 404),
        ("POST", "/v2/models/echo/versions/9/infer", {}, 404),
        ("POST", "/v2/models/echo/versions/%FF/infer", {}, 404),
        ("GET", "/v2/models/nope", {}, 404),
        ("GET", "/v2/models/echo/versions/9/ready", {}, 404),
        ("GET", "/nowhere", {}, 404),
        ("GET", "/v2/models/echo/infer", {}, 405),
        ("DELETE", "/v2/health/live", {}, 405),
        ("POST", "/v2/models/echo/infer", {"content-length": "99999999999"}, 413),
        ("POST", "/v2/models/echo/infer", {"content-type": "text/plain"}, 415),
        ("POST", "/v2/models/echo/infer", {"content-encoding": "br"}, 415),
        ("POST", "/v2/models/echo/infer", {"gatewise-timeout-ms": "soon"}, 400),
        ("POST", "/v2/models/echo/labels", {}, 404),
        ("GET", "/metrics", {}, 404),
    ],
)
def test_errors_in_the_protocols_words(method: str, path: str, headers: dict[str, str], status: int) -> None:
    client = Client([serve.echo()])
    answer = run(lambda: client.call(method, path, json.dumps(request([[1.0]])).encode(), headers))
    assert answer.status == status
    assert list(answer.json) == ["error"]
    if status == 405:
        assert answer.headers["allow"]
