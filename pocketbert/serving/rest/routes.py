"""The HTTP interface: the Open Inference Protocol v2, and /predict and /info of text-embeddings-inference.

Specifications: https://github.com/kserve/open-inference-protocol (REST), the model repository and binary tensor data
extensions of Triton, and the OpenAPI document of https://github.com/huggingface/text-embeddings-inference.
"""

import json
import zlib
from asyncio import timeout
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from export.bundle.runtime import most_probable
from pocketbert import __version__
from pocketbert.serving.core import tensors
from pocketbert.serving.core.limits import Limits, RefusedError, fault
from pocketbert.serving.core.request_log import Note
from pocketbert.serving.core.served_bundle import ServedBundle
from pocketbert.serving.core.server_state import EXTENSIONS, MODEL_VERSION, PLATFORM, ServerState
from pocketbert.serving.rest import messages

NOTE = "pocketbert.note"  # in the scope of an answered request
HEADER_LENGTH = "Inference-Header-Content-Length"
Handler = Callable[[ServerState, Request], Awaitable[Response]]


async def live(state: ServerState, request: Request) -> Response:
    """The process runs."""
    return JSONResponse({"live": True})


async def ready(state: ServerState, request: Request) -> Response:
    """The bundles are loaded, and the server is not stopping."""
    return JSONResponse({"ready": state.is_ready}, 200 if state.is_ready else 503)


async def health(state: ServerState, request: Request) -> Response:
    """The same for clients of text-embeddings-inference, without content."""
    return Response(status_code=200 if state.is_ready else 503)


async def server_metadata(state: ServerState, request: Request) -> Response:
    """Name and version of the server."""
    return JSONResponse({"name": "pocketbert", "version": __version__, "extensions": list(EXTENSIONS)})


async def model_metadata(state: ServerState, request: Request) -> Response:
    """Inputs and outputs of a model."""
    bundle = _bundle(state, request)
    return JSONResponse(
        {
            "name": bundle.name,
            "versions": [MODEL_VERSION],
            "platform": PLATFORM,
            "inputs": [vars(tensor) for tensor in tensors.inputs_of(bundle.classifier)],
            "outputs": [vars(tensor) for tensor in tensors.outputs_of(bundle.classifier)],
            "properties": bundle.properties(),
        }
    )


async def model_ready(state: ServerState, request: Request) -> Response:
    """Whether a model can answer."""
    bundle = _bundle(state, request)
    return JSONResponse({"name": bundle.name, "ready": state.is_ready}, 200 if state.is_ready else 503)


async def infer(state: ServerState, request: Request) -> Response:
    """Predict texts."""
    bundle = _bundle(state, request)
    content, blob = _split(await _body(request, state.limits), request.headers.get(HEADER_LENGTH))
    message = messages.parse(messages.InferenceRequest, content)
    inputs = _texts_of(message.inputs, blob)
    texts, pairs = tensors.texts_and_pairs(bundle.classifier, inputs)
    answer = await bundle.answer(texts, pairs, may_truncate=(message.parameters or {}).get("truncate") is not False)
    request.scope[NOTE] = Note.of(bundle, answer)
    wanted = {output.name: output.parameters or {} for output in message.outputs or ()}
    outputs = tensors.output_tensors(answer.classifier, answer.logits, list(wanted))
    all_binary = (message.parameters or {}).get("binary_data_output") is True
    blobs, described = [], []
    for output in outputs:
        fields: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if wanted.get(output.name, {}).get("binary_data", all_binary) is True:
            blobs.append(output.content())
            fields["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            fields["data"] = output.flat()
        described.append(fields)
    response: dict[str, Any] = {
        "model_name": bundle.name,
        "model_version": MODEL_VERSION,
        "parameters": {"truncated": answer.truncated},
        "outputs": described,
    }
    if message.id is not None:
        response["id"] = message.id
    head = json.dumps(response).encode()
    if not blobs:
        return Response(head, media_type="application/json")
    return Response(
        b"".join([head, *blobs]), media_type="application/octet-stream", headers={HEADER_LENGTH: str(len(head))}
    )


async def predict(state: ServerState, request: Request) -> Response:
    """Predict texts for clients of text-embeddings-inference, by the first bundle."""
    bundle = state.first
    message = messages.parse(messages.PredictRequest, await _body(request, state.limits))
    sequences, is_batch = message.sequences()
    side = bundle.classifier.truncation_side
    if message.truncation_direction is not None and message.truncation_direction.lower() != side:
        raise RefusedError(422, f"truncation_direction: this model truncates on the {side}")
    if len({len(sequence) for sequence in sequences}) > 1:
        raise RefusedError(422, "inputs: single texts and pairs in one batch")
    is_pair = bool(sequences) and len(sequences[0]) == 2
    if is_pair and not is_batch and not bundle.classifier.takes_pairs:
        raise RefusedError(422, f"inputs: two texts in one list are a pair; a batch is {messages.BATCH}")
    answer = await bundle.answer(
        [sequence[0] for sequence in sequences],
        [sequence[1] for sequence in sequences] if is_pair else None,
        may_truncate=message.truncate is not False,
    )
    request.scope[NOTE] = Note.of(bundle, answer)
    labels = answer.classifier.labels
    scores = answer.logits if message.raw_scores else answer.classifier.answers(answer.logits)
    ranked = most_probable(scores, len(labels)).tolist()
    predictions = [
        [{"score": round(float(row[index]), 6), "label": labels[index]} for index in order]
        for row, order in zip(scores, ranked, strict=True)
    ]
    return JSONResponse(predictions if is_batch else predictions[0])


async def info(state: ServerState, request: Request) -> Response:
    """What text-embeddings-inference reports about its model."""
    bundle = state.first
    labels = bundle.classifier.labels
    return JSONResponse(
        {
            "model_id": bundle.name,
            "model_sha": bundle.loaded.sha256,
            "model_dtype": bundle.loaded.variant,
            "model_type": {
                "classifier": {
                    "id2label": {str(index): label for index, label in enumerate(labels)},
                    "label2id": {label: index for index, label in enumerate(labels)},
                }
            },
            "max_concurrent_requests": state.limits.requests,
            "max_input_length": bundle.classifier.max_length,
            "max_batch_tokens": int(bundle.classifier.tokens_per_call),
            "max_client_batch_size": state.limits.texts,
            "auto_truncate": True,
            "version": __version__,
        }
    )


async def repository_index(state: ServerState, request: Request) -> Response:
    """The models, and whether they are ready."""
    name = "READY" if state.is_ready else "UNAVAILABLE"
    return JSONResponse(
        [
            {"name": bundle.name, "version": MODEL_VERSION, "state": name, "reason": ""}
            for bundle in state.bundles.values()
        ]
    )


async def repository_load(state: ServerState, request: Request) -> Response:
    """Load the folder of a bundle again. The former model answers until the new one has passed its checks."""
    await state.reload_for_client(request.path_params["name"])
    return Response(status_code=200)


def application(state: ServerState, openapi: Mapping[str, Any], routes: Mapping[tuple[str, str], Handler]) -> Starlette:
    """The routes as an ASGI application. Every error is a JSON object."""

    def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            try:
                return await handler(state, request)
            except RefusedError as refused:
                return refusal(refused)

        return handle

    async def document(request: Request) -> Response:
        return JSONResponse(openapi)

    return Starlette(
        routes=[
            *(Route(path, endpoint(handler), methods=[method]) for (method, path), handler in routes.items()),
            Route("/openapi.json", document),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _fault},
    )


def refusal(refused: RefusedError) -> Response:
    """The response to a request that gets no answer."""
    headers = {} if refused.retry_s is None else {"Retry-After": str(refused.retry_s)}
    if refused.status in (408, 413):
        headers["Connection"] = "close"  # the rest of the body is not read
    return JSONResponse({"error": refused.message, "error_type": refused.kind}, refused.status, headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = "no such path; /openapi.json lists them" if error.status_code == 404 else error.detail
    content = {"error": message, "error_type": "validation"}
    return JSONResponse(content, error.status_code, dict(error.headers or {}))


async def _fault(request: Request, error: Exception) -> Response:
    return refusal(fault())


def _bundle(state: ServerState, request: Request) -> ServedBundle:
    return state.bundle(request.path_params["name"], request.path_params.get("version", MODEL_VERSION))


async def _body(request: Request, limits: Limits) -> bytes:
    """The body of a request. Raises RefusedError if it is too large or too slow."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding not in ("identity", "gzip", "deflate"):
        raise RefusedError(415, f"Content-Encoding: got {encoding!r:.60}; expected gzip, deflate or identity")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.body_bytes:
        raise _too_large(limits)
    chunks, size = [], 0
    try:
        async with timeout(limits.body_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.body_bytes:
                    raise _too_large(limits)
                chunks.append(chunk)
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {limits.body_s:g} seconds") from None
    except ClientDisconnect:
        raise RefusedError(400, "the connection was closed within the body") from None
    body = b"".join(chunks)
    return body if encoding == "identity" else _decompressed(body, limits)


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"the body is larger than {limits.body_bytes} bytes")


def _decompressed(body: bytes, limits: Limits) -> bytes:
    """The content of a gzip or zlib stream, up to the size of other bodies."""
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either header
    try:
        content = decoder.decompress(body, limits.body_bytes)
    except zlib.error as error:
        raise RefusedError(400, f"the compressed body cannot be read ({error})") from error
    if decoder.unconsumed_tail:
        raise _too_large(limits)
    if not decoder.eof:
        raise RefusedError(400, "the compressed body is incomplete")
    return content


def _split(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    """The JSON of a request, and the bytes of its tensors."""
    if header_length is None:
        return body, b""
    if not header_length.isdecimal() or len(header_length) > 10 or int(header_length) > len(body):
        raise RefusedError(400, f"{HEADER_LENGTH}: expected the number of bytes of the JSON, at most {len(body)}")
    return body[: int(header_length)], body[int(header_length) :]


def _texts_of(inputs: list[messages.InputTensor], blob: bytes) -> list[tuple[str, list[str]]]:
    """The name and the texts of each input. Raises RefusedError if they do not fit their shape."""
    named, position = [], 0
    for tensor in inputs:
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            texts = [text for item in tensor.data or () for text in ([item] if isinstance(item, str) else item)]
        elif type(size) is not int or not 0 <= size <= len(blob) - position:
            raise RefusedError(
                422, f"input {tensor.name!r:.60}: binary_data_size: got {size!r:.60}; the body has fewer bytes"
            )
        else:
            texts = tensors.decode_texts(blob[position : position + size], tensor.name)
            position += size
        tensors.check_tensor(tensor.name, tensor.datatype, tensor.shape, len(texts))
        named.append((tensor.name, texts))
    if position != len(blob):
        raise RefusedError(422, f"got {len(blob)} bytes of tensors; the inputs describe {position}")
    return named
