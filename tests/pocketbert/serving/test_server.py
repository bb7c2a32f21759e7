"""A real server: its answers are those of predict.py in each protocol, and every refusal is a clear 4xx or 503."""

import gzip
import http.client
import json
import shutil
import signal
import socket
import struct
import threading
import urllib.request
import zlib

import grpc
import numpy as np
import pytest

import pocketbert
from pocketbert.serving.core.tensors import LENGTH
from pocketbert.serving.rest import messages
from pocketbert.serving.rpc import wire
from running_server import serving

TEXTS = ["a lovely film", "a dull film", "film " * 50, "", "日本語 😀", "\u202e x", "a lovely dull film"]
INFER = "/v2/models/fp32/infer"


@pytest.fixture(scope="module")
def server(bundle):
    with serving(bundle, options=("--max-body-kb", "64", "--max-texts", "20")) as running:
        yield running


@pytest.fixture(scope="module")
def expected(bundle):
    return pocketbert.load(bundle).predict(TEXTS)


def tensor(texts, **more):
    return {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts, **more}


def grpc_call(server, name, request, metadata=()):
    request_class, response_class = wire.methods()[name]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        call = channel.unary_unary(
            f"/{wire.SERVICE}/{name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        return call(request, metadata=metadata, timeout=30)


def check(outputs, expected):
    labels = outputs["label"]
    assert list(labels) == [answer["label"] for answer in expected]
    probabilities = np.array(outputs["probabilities"]).reshape(len(labels), -1).max(axis=1)
    np.testing.assert_allclose(probabilities, [answer["probability"] for answer in expected], atol=2e-6)


def test_json_tensors(server, expected):
    status, answer, _ = server.infer(TEXTS, "fp32", id="q7")
    assert status == 200 and answer["id"] == "q7" and answer["model_name"] == "fp32"
    assert answer["parameters"] == {"truncated": 1}
    check({output["name"]: output["data"] for output in answer["outputs"]}, expected)
    shapes = {output["name"]: output["shape"] for output in answer["outputs"]}
    assert shapes == {"label": [7], "probabilities": [7, 2], "logits": [7, 2]}
    column = {"name": "text", "shape": [7, 1], "datatype": "BYTES", "data": [[text] for text in TEXTS]}
    assert server.request("POST", INFER, {"inputs": [column]})[1]["outputs"] == answer["outputs"]


def test_binary_tensors(server, expected):
    blob = b"".join(LENGTH.pack(len(text.encode())) + text.encode() for text in TEXTS)
    described = {"name": "text", "shape": [7], "datatype": "BYTES", "parameters": {"binary_data_size": len(blob)}}
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    name = "Inference-Header-Content-Length"
    status, answer, headers = server.request("POST", INFER, head + blob, {name: str(len(head))})
    size = int(headers[name])
    outputs = {
        output["name"]: output["parameters"]["binary_data_size"] for output in json.loads(answer[:size])["outputs"]
    }
    assert status == 200 and list(outputs) == ["label", "probabilities", "logits"]
    content = answer[size:]
    assert len(content) == sum(outputs.values())
    labels, position = [], 0
    for _ in TEXTS:
        (length,) = struct.unpack_from("<I", content, position)
        labels.append(content[position + 4 : position + 4 + length].decode())
        position += 4 + length
    check({"label": labels, "probabilities": np.frombuffer(content, "<f4", 14, position)}, expected)


def test_grpc(server, expected):
    assert grpc_call(server, "ServerLive", wire.message("ServerLiveRequest")()).live
    assert grpc_call(server, "ServerReady", wire.message("ServerReadyRequest")()).ready
    assert grpc_call(server, "ModelReady", wire.message("ModelReadyRequest")(name="fp32", version="1")).ready
    assert (
        grpc_call(server, "ServerMetadata", wire.message("ServerMetadataRequest")()).version == pocketbert.__version__
    )
    metadata = grpc_call(server, "ModelMetadata", wire.message("ModelMetadataRequest")(name="fp32"))
    assert [each.name for each in metadata.outputs] == ["label", "probabilities", "logits"]
    assert json.loads(metadata.properties["labels"]) == ["negative", "positive"]
    request = wire.message("ModelInferRequest")(model_name="fp32", id="q8")
    request.inputs.add(name="text", datatype="BYTES", shape=[7]).contents.bytes_contents.extend(map(str.encode, TEXTS))
    answer = grpc_call(server, "ModelInfer", request)
    contents = {output.name: output.contents for output in answer.outputs}
    labels = [label.decode() for label in contents["label"].bytes_contents]
    check({"label": labels, "probabilities": contents["probabilities"].fp32_contents}, expected)
    request.inputs[0].ClearField("contents")
    request.raw_input_contents.append(b"".join(LENGTH.pack(len(text.encode())) + text.encode() for text in TEXTS))
    answer = grpc_call(server, "ModelInfer", request)
    assert answer.id == "q8" and answer.parameters["truncated"].int64_param == 1
    check({"label": labels, "probabilities": np.frombuffer(answer.raw_output_contents[1], "<f4")}, expected)


def test_text_embeddings_inference(server, expected):
    for path in ("/predict", "/"):
        status, answer, _ = server.request("POST", path, {"inputs": TEXTS[0]})
        assert status == 200 and [each["label"] for each in answer] != []
        assert answer[0] == {"score": expected[0]["probability"], "label": expected[0]["label"]}
    _, batch, _ = server.request("POST", "/predict", {"inputs": [[text] for text in TEXTS]})
    assert [row[0]["label"] for row in batch] == [answer["label"] for answer in expected]
    assert [row[0]["score"] for row in batch] == [answer["probability"] for answer in expected]
    _, raw, _ = server.request("POST", "/predict", {"inputs": [[TEXTS[0]]], "raw_scores": True})
    assert raw[0][0]["score"] != batch[0][0]["score"]
    _, info, _ = server.request("GET", "/info")
    assert info["model_type"]["classifier"]["id2label"] == {"0": "negative", "1": "positive"}
    assert server.request("GET", "/health")[0] == 200


def test_metadata_and_health(server):
    assert server.request("GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert server.request("GET", "/v2/health/ready")[:2] == (200, {"ready": True})
    assert server.request("GET", "/v2/models/fp32/ready")[:2] == (200, {"name": "fp32", "ready": True})
    assert server.request("GET", "/v2/models/fp32/versions/1")[1]["inputs"] == [
        {"name": "text", "datatype": "BYTES", "shape": [-1]}
    ]
    assert server.request("GET", "/v2/models/fp32/versions/2")[0] == 404
    assert server.request("POST", "/v2/repository/index")[1][0]["state"] == "READY"
    document = server.request("GET", "/openapi.json")[1]
    assert document["paths"][INFER.replace("fp32", "{name}")]["post"]["requestBody"]
    assert server.infer(["a film"], "fp32")[0] == 200
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics}/metrics").read().decode()
    assert 'pocketbert_texts_total{model="fp32"}' in metrics and "pocketbert_round_tokens_bucket" in metrics


def deep(levels):
    return b'{"inputs": ' + b"[" * levels + b"]" * levels + b"}"


BAD = {
    "not JSON": (b"hello", 400),
    "no body": (b"", 400),
    "another encoding": ('{"inputs": "é"}'.encode("utf-16"), 400),
    "invalid UTF-8": (b'{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["\xff"]}]}', 400),
    "half a surrogate pair": (b'{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["\\ud800"]}]}', 400),
    "a list": (b"[]", 422),
    "deep": (deep(1000), 400),
    "deeper": (deep(30_000), 400),
    "no inputs": ({"inputs": []}, 422),
    "three inputs": ({"inputs": [tensor(["a"])] * 3}, 422),
    "an input twice": ({"inputs": [tensor(["a"])] * 2}, 422),
    "a pair": ({"inputs": [tensor(["a"]), tensor(["a"]) | {"name": "pair"}]}, 422),
    "another name": ({"inputs": [tensor(["a"]) | {"name": "x" * 5000}]}, 422),
    "another datatype": ({"inputs": [tensor([1.5]) | {"datatype": "FP32"}]}, 422),
    "numbers": ({"inputs": [tensor([1])]}, 422),
    "null": ({"inputs": [tensor([None])]}, 422),
    "another shape": ({"inputs": [tensor(["a"]) | {"shape": [2]}]}, 422),
    "a huge shape": ({"inputs": [tensor(["a"]) | {"shape": [10**30]}]}, 422),
    "a negative shape": ({"inputs": [tensor(["a"]) | {"shape": [-1]}]}, 422),
    "two columns": ({"inputs": [tensor([["a", "b"]]) | {"shape": [1, 2]}]}, 422),
    "no texts": ({"inputs": [tensor([])]}, 400),
    "too many texts": ({"inputs": [tensor(["a"] * 21)]}, 422),
    "too large": ({"inputs": [tensor(["a" * 70_000])]}, 413),
    "an unknown output": ({"inputs": [tensor(["a"])], "outputs": [{"name": "embedding"}]}, 422),
    "bytes that are missing": (
        {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}]}, 422
    ),
    "no truncation": ({"inputs": [tensor(["film " * 50])], "parameters": {"truncate": False}}, 422),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_requests_get_a_reason(server, kind):
    body, status = BAD[kind]
    answer = server.request("POST", INFER, body)
    assert answer[0] == status, answer
    assert answer[1]["error"] and len(answer[1]["error"]) < 700
    assert server.infer(["a"], "fp32")[0] == 200


BAD_PREDICT = {
    "an empty batch": ({"inputs": []}, 400),
    "three texts": ({"inputs": ["a", "b", "c"]}, 422),
    "a pair": ({"inputs": ["a", "b"]}, 422),
    "mixed": ({"inputs": [["a"], ["a", "b"]]}, 422),
    "mixed types": ({"inputs": ["a", ["b"]]}, 422),
    "the other side": ({"inputs": "a", "truncation_direction": "left"}, 422),
    "too long": ({"inputs": "film " * 50, "truncate": False}, 422),
}


@pytest.mark.parametrize("kind", BAD_PREDICT)
def test_bad_predict_requests(server, kind):
    body, status = BAD_PREDICT[kind]
    answer = server.request("POST", "/predict", body)
    assert answer[0] == status and answer[1]["error"], answer


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (TEXTS[:2], 'inputs: two texts in one list are a pair; a batch is [["a text"], ["another text"]]'),
        *[(inputs, f"inputs: {messages.INPUTS}") for inputs in (["a", "b", "c"], 3, [["a"], "b"], [["a", "b", "c"]])],
    ],
)
def test_a_refused_batch_has_the_form_that_is_right(server, inputs, message):
    status, answer, _ = server.request("POST", "/predict", {"inputs": inputs})
    assert (status, answer["error"]) == (422, message)


def test_headers_that_do_not_fit(server):
    body = json.dumps({"inputs": [tensor(["a"])]}).encode()
    for value in ("x", "-1", "9999", "9" * 30, "²"):
        assert server.request("POST", INFER, body, {"Inference-Header-Content-Length": value})[0] == 400
    assert server.request("POST", INFER, body, {"Content-Encoding": "br"})[0] == 415
    assert server.request("POST", INFER, b"x" + body, {"Content-Encoding": "gzip"})[0] == 400
    assert server.request("POST", INFER, gzip.compress(body)[:-9], {"Content-Encoding": "gzip"})[0] == 400
    for packed, encoding in ((gzip.compress(body), "gzip"), (zlib.compress(body), "deflate")):
        assert server.request("POST", INFER, packed, {"Content-Encoding": encoding})[0] == 200
    bomb = gzip.compress(b" " * 10_000_000)
    assert server.request("POST", INFER, bomb, {"Content-Encoding": "gzip"})[0] == 413
    assert server.request("PUT", INFER, body)[0] == 405
    assert server.request("POST", "/v2/models/other/infer", body)[0] == 404
    status, answer, headers = server.request("POST", INFER, b"", {"Content-Length": "99999999999"})
    assert (status, headers["Connection"]) == (413, "close") and "larger than 65536 bytes" in answer["error"]


def test_broken_connections_harm_nobody(server):
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    for sent in (
        b"",
        b"POST",
        b"GET / HTTP/9\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\0" * 100_000,
        head,
        head + b'{"inputs',
    ):
        with socket.create_connection(("127.0.0.1", server.http)) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            answer = connection.recv(65536)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
        assert server.infer(["a"], "fp32")[0] == 200
    slow = [socket.create_connection(("127.0.0.1", server.http)) for _ in range(50)]
    for connection in slow:
        connection.sendall(head)
    assert server.infer(["a"], "fp32")[0] == 200
    for connection in slow:
        connection.close()
    assert server.infer(["a"], "fp32")[0] == 200


def test_bad_grpc_requests(server):
    request_class = wire.message("ModelInferRequest")
    bad = [
        (request_class(model_name="other"), grpc.StatusCode.NOT_FOUND),
        (request_class(model_name="fp32"), grpc.StatusCode.INVALID_ARGUMENT),
        (request_class(model_name="fp32", raw_input_contents=[b"\xff"]), grpc.StatusCode.INVALID_ARGUMENT),
    ]
    for content in (b"\x05\0\0\0ab", b"\x02\0\0\0\xff\xff", b"\xff\xff\xff\xff", b"\x01"):
        request = request_class(model_name="fp32", raw_input_contents=[content])
        request.inputs.add(name="text", datatype="BYTES", shape=[1])
        bad.append((request, grpc.StatusCode.INVALID_ARGUMENT))
    for request, code in bad:
        with pytest.raises(grpc.RpcError) as error:
            grpc_call(server, "ModelInfer", request)
        assert error.value.code() is code and error.value.details()
    huge = request_class(model_name="fp32", raw_input_contents=[b"a" * 100_000])
    with pytest.raises(grpc.RpcError) as error:
        grpc_call(server, "ModelInfer", huge)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_many_clients_at_once_get_their_own_answers(server, expected):
    right = []

    def client(number):
        for turn in range(30):
            index = (number + turn) % len(TEXTS)
            status, answer, _ = server.request("POST", "/predict", {"inputs": TEXTS[index]})
            right.append(status == 200 and answer[0]["label"] == expected[index]["label"])

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert right == [True] * 8 * 30


def test_the_log_has_no_texts(bundle):
    with serving(bundle) as running:
        assert running.request("POST", "/predict", {"inputs": "a secret film"})[0] == 200
        assert running.request("GET", "/secret?secret=secret")[0] == 404
        assert running.stop() == 0
    requests = [event for event in running.events if event["event"] == "request"]
    assert [event["method"] for event in requests] == ["POST /predict", "unknown"]
    assert requests[0]["texts"] == 1 and requests[0]["model"] == "fp32" and requests[0]["tokens"] == 5
    assert "secret" not in json.dumps(running.events)


def test_a_log_that_nobody_reads_stops_no_request(bundle):
    with serving(bundle) as running:
        num_lines = 64 * 1024 // 100  # of a pipe
        assert all(running.request("GET", "/health")[0] == 200 for _ in range(2 * num_lines))


def test_an_api_key_is_demanded(bundle, tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    with serving(bundle, options=("--api-key-file", str(tmp_path / "key"))) as running:
        assert running.request("GET", "/v2/health/ready")[0] == 200
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "s3cret"}):
            assert running.request("POST", "/predict", {"inputs": "a"}, headers)[0] == 401
        assert running.request("POST", "/predict", {"inputs": "a"}, {"Authorization": "Bearer s3cret"})[0] == 200
        request = wire.message("ModelReadyRequest")(name="fp32")
        with pytest.raises(grpc.RpcError) as error:
            grpc_call(running, "ModelReady", request)
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert grpc_call(running, "ModelReady", request, [("authorization", "Bearer s3cret")]).ready


def test_a_pair_bundle_and_a_bundle_with_a_name(bundle, pair_bundle):
    with serving(f"one={bundle}", f"two={pair_bundle}") as running:
        expected = pocketbert.load(pair_bundle).predict(["a film"], ["a lovely film"])[0]
        pair = tensor(["a lovely film"]) | {"name": "pair"}
        body = {"inputs": [pair, tensor(["a film"])], "outputs": [{"name": "label"}]}
        _, answer, _ = running.request("POST", "/v2/models/two/infer", body)
        assert answer["outputs"] == [{"name": "label", "datatype": "BYTES", "shape": [1], "data": [expected["label"]]}]
        assert running.request("POST", "/v2/models/one/infer", body)[0] == 422
        assert running.infer(["a film"], "one")[0] == 200


def test_a_bundle_is_loaded_again_without_losing_a_request(bundle, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    with serving(folder, options=("--no-request-log",)) as running:
        statuses, is_over = [], threading.Event()

        def client():
            while not is_over.is_set():
                statuses.append(running.infer(TEXTS, "bundle")[0])

        clients = [threading.Thread(target=client) for _ in range(4)]
        for each in clients:
            each.start()
        for _ in range(3):
            assert running.request("POST", "/v2/repository/models/bundle/load")[0] == 200
        running.process.send_signal(signal.SIGHUP)
        running.next_event("reloaded")
        (folder / "tokenizer.json").write_text("{}")
        status, answer, _ = running.request("POST", "/v2/repository/models/bundle/load")
        assert status == 422 and "tokenizer.json" in answer["error"]
        is_over.set()
        for each in clients:
            each.join()
        assert set(statuses) == {200} and len(statuses) > 4


def test_sigterm_answers_what_was_accepted(bundle):
    with serving(bundle, options=("--no-request-log", "--drain-seconds", "1")) as running:
        body = json.dumps({"inputs": [tensor(TEXTS)]})
        statuses, ended, is_busy = [], [], threading.Event()

        def client():
            connection = http.client.HTTPConnection("127.0.0.1", running.http, timeout=30)
            is_open = True
            while is_open:
                connection.request("POST", INFER, body)
                response = connection.getresponse()
                statuses.append(response.status)
                if len(statuses) > 20:
                    is_busy.set()
                is_open = response.headers.get("connection") != "close" and bool(response.read())
            ended.append(True)

        clients = [threading.Thread(target=client) for _ in range(4)]
        for each in clients:
            each.start()
        assert is_busy.wait(timeout=30)
        running.process.send_signal(signal.SIGTERM)
        running.next_event("stopping")
        assert running.request("GET", "/v2/health/ready")[0] == 503, "load balancers send no more requests"
        for each in clients:
            each.join()
        assert running.process.wait(timeout=30) == 0
        assert ended == [True] * 4, "each connection ended after an answer, with a header that says so"
        assert set(statuses) == {200} and len(statuses) > 20


def test_overload_is_refused_at_once(bundle):
    with serving(bundle, options=("--latency-ms", "1", "--no-request-log")) as running:
        answers = []

        def client():
            answers.extend(running.infer(["film " * 30] * 200, "fp32") for _ in range(5))

        clients = [threading.Thread(target=client) for _ in range(8)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        refused = [headers for status, _, headers in answers if status == 503]
        assert {status for status, _, _ in answers} == {200, 503}
        assert all(headers["Retry-After"] == "1" for headers in refused)
        assert running.infer(["a"], "fp32")[0] == 200


@pytest.mark.parametrize("option", ["--port", "--grpc-port", "--metrics-port"])
def test_a_port_that_is_taken_is_one_line(bundle, option, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"--port": 0, "--grpc-port": 0, "--metrics-port": 0, option: taken.getsockname()[1]}
        finished = command("serve", bundle, *(part for pair in ports.items() for part in pair))
    lines = [line for line in finished.stderr.splitlines() if '"event"' not in line]
    assert finished.returncode == 2
    assert lines == [
        f"error: 127.0.0.1, port {ports[option]}: address already in use; choose another {option} or --host"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing: no such folder; expected a bundle"),
        (["{bundle}", "{bundle}"], "another bundle has the name fp32; use NAME=FOLDER"),
        (["a b={bundle}"], "got the name 'a b'; expected letters, digits, -, _ and .; use NAME=FOLDER"),
        (["{bundle}", "--api-key-file", "missing"], "missing: cannot be read (No such file or directory)"),
    ],
)
def test_bad_arguments_are_one_line(bundle, command, arguments, message):
    finished = command("serve", *(argument.format(bundle=bundle) for argument in arguments))
    assert finished.returncode == 2 and finished.stderr.count("\n") == 1 and message in finished.stderr
