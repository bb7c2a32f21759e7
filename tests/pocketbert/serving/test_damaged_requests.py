"""Damaged requests: other values in the JSON, other bytes in HTTP, other bytes in gRPC. None gets a 5xx."""

import copy
import json
import random
import socket

import grpc
import pytest

from pocketbert.serving.rest.messages import InferenceRequest
from pocketbert.serving.rpc import wire
from running_server import serving

GOOD = {
    "id": "q",
    "parameters": {"truncate": True},
    "inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a film", "a dull film"]}],
    "outputs": [{"name": "label", "parameters": {"binary_data": False}}],
}
HOSTILE = (
    *(None, True, -1, 0, 1.5, 10**400, -(2**63), "", "x" * 3000, "\0", "\ufffe", [], {}, [[]], [None], {"": {}}),
    *("NaN", "__class__", ["a"] * 3000, [["a"] * 2] * 2, [[[["a"]]]], "../../etc/passwd", "%s%n", "{name}", "<script>"),
    {"binary_data_size": 2**70},
)
OK = "ok"


@pytest.fixture(scope="module")
def server(bundle):
    with serving(bundle, options=("--no-request-log", "--max-body-kb", "64")) as running:
        yield running


def places(value, path=()):
    """The path of every value in a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(document, path, value):
    document = copy.deepcopy(document)
    if not path:
        return value
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


def check_alive(server):
    assert server.infer(["a film"], "fp32")[0] == 200


def test_every_value_of_a_request_is_replaced(server):
    statuses = []
    for path in places(GOOD):
        for value in HOSTILE:
            body = json.dumps(replaced(GOOD, path, value)).encode()
            status, answer, _ = server.request("POST", "/v2/models/fp32/infer", body)
            assert status in (200, 400, 413, 422), (path, value, answer)
            assert status == 200 or answer["error"], (path, value, answer)
            statuses.append(status)
    assert len(statuses) > 200 and statuses.count(200) < len(statuses) / 2
    check_alive(server)


def raw(server, content: bytes) -> bytes:
    """The first bytes of the response to bytes on a new connection, which is then closed in one direction."""
    with socket.create_connection(("127.0.0.1", server.http), timeout=20) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(65536)
        except ConnectionError:
            return b""


def test_bytes_of_http_are_damaged(server):
    body = json.dumps(GOOD).encode()
    head = f"POST /v2/models/fp32/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    request, generator = head + body, random.Random(0)
    answers = []
    for _ in range(200):
        damaged = bytearray(request)
        position = generator.randrange(len(damaged))
        match generator.randrange(4):
            case 0:
                damaged[position] = generator.randrange(256)
            case 1:
                del damaged[position:]
            case 2:
                damaged[position:position] = generator.randbytes(generator.randrange(1, 200))
            case 3:
                del damaged[position : position + generator.randrange(1, 20)]
        answers.append(raw(server, bytes(damaged)))
        assert answers[-1] == b"" or answers[-1].startswith((b"HTTP/1.1 4", b"HTTP/1.1 200")), damaged
    assert sum(answer.startswith(b"HTTP/1.1 4") for answer in answers) > 50
    check_alive(server)


def test_bytes_of_grpc_are_damaged(server):
    request_class, _ = wire.methods()["ModelInfer"]
    request = request_class(model_name="fp32")
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a film")
    content, generator, codes = request.SerializeToString(), random.Random(0), []
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        call = channel.unary_unary(f"/{wire.SERVICE}/ModelInfer")
        for _ in range(100):
            damaged = bytearray(content)
            position = generator.randrange(len(damaged))
            damaged[position : position + generator.randrange(3)] = generator.randbytes(generator.randrange(3))
            try:
                call(bytes(damaged), timeout=20)
                codes.append(OK)
            except grpc.RpcError as error:
                codes.append(error.code())
    assert set(codes) == {OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    check_alive(server)


def test_the_good_request_is_good(server):
    assert InferenceRequest.model_validate(GOOD)
    status, answer, _ = server.request("POST", "/v2/models/fp32/infer", GOOD)
    assert status == 200 and answer["id"] == "q"
