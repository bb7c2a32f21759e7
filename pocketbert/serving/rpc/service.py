"""The gRPC interface: the Open Inference Protocol v2, model loading as in Triton, and the health service of gRPC."""

import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from pocketbert import __version__
from pocketbert.serving.core import tensors
from pocketbert.serving.core.limits import RefusedError, fault
from pocketbert.serving.core.request_log import Note, RequestLog
from pocketbert.serving.core.server_state import EXTENSIONS, MODEL_VERSION, PLATFORM, ServerState
from pocketbert.serving.rpc import wire

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
OPEN = {"ServerLive", "ServerReady"}  # without an API key
Call = tuple[Any, Note | None]  # a response, and what the log should say


class Service:
    """The methods of the protocol. Each returns its response, and raises RefusedError."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._messages = {name: classes[1] for name, classes in wire.methods().items()}

    async def server_live(self, request: Any) -> Call:
        """The process runs."""
        return self._messages["ServerLive"](live=True), None

    async def server_ready(self, request: Any) -> Call:
        """The bundles are loaded, and the server is not stopping."""
        return self._messages["ServerReady"](ready=self._state.is_ready), None

    async def model_ready(self, request: Any) -> Call:
        """Whether a model can answer."""
        self._state.bundle(request.name, request.version)
        return self._messages["ModelReady"](ready=self._state.is_ready), None

    async def server_metadata(self, request: Any) -> Call:
        """Name and version of the server."""
        return self._messages["ServerMetadata"](name="pocketbert", version=__version__, extensions=EXTENSIONS), None

    async def model_metadata(self, request: Any) -> Call:
        """Inputs and outputs of a model."""
        bundle = self._state.bundle(request.name, request.version)
        response = self._messages["ModelMetadata"](
            name=bundle.name, versions=[MODEL_VERSION], platform=PLATFORM, properties=bundle.properties()
        )
        for tensor in tensors.inputs_of(bundle.classifier):
            response.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        for tensor in tensors.outputs_of(bundle.classifier):
            response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return response, None

    async def model_infer(self, request: Any) -> Call:
        """Predict texts. Outputs come as bytes if the inputs did."""
        bundle = self._state.bundle(request.model_name, request.model_version)
        texts, pairs = tensors.texts_and_pairs(bundle.classifier, _texts_of(request))
        truncate = request.parameters.get("truncate")
        may_truncate = truncate is None or not truncate.HasField("bool_param") or truncate.bool_param
        names = [output.name for output in request.outputs]
        answer = await bundle.answer(texts, pairs, may_truncate=may_truncate)
        response = self._messages["ModelInfer"](model_name=bundle.name, model_version=MODEL_VERSION, id=request.id)
        response.parameters["truncated"].int64_param = answer.truncated
        for output in tensors.output_tensors(answer.classifier, answer.logits, names):
            described = response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
            if request.raw_input_contents:
                response.raw_output_contents.append(output.content())
            elif output.datatype == "BYTES":
                described.contents.bytes_contents.extend(str(text).encode() for text in output.flat())
            else:
                described.contents.fp32_contents.extend(output.flat())
        return response, Note.of(bundle, answer)

    async def repository_index(self, request: Any) -> Call:
        """The models, and whether they are ready."""
        response = self._messages["RepositoryIndex"]()
        for name in self._state.bundles if self._state.is_ready or not request.ready else ():
            state = "READY" if self._state.is_ready else "UNAVAILABLE"
            response.models.add(name=name, version=MODEL_VERSION, state=state)
        return response, None

    async def repository_model_load(self, request: Any) -> Call:
        """Load the folder of a bundle again."""
        await self._state.reload_for_client(request.model_name)
        return self._messages["RepositoryModelLoad"](), None


def _texts_of(request: Any) -> list[tuple[str, list[str]]]:
    """The name and the texts of each input. Raises RefusedError if they do not fit their shape."""
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise RefusedError(422, f"got {len(raw)} raw_input_contents for {len(request.inputs)} inputs")
    named = []
    for number, tensor in enumerate(request.inputs):
        if raw and tensor.contents.ByteSize():
            raise RefusedError(
                422, f"input {tensor.name!r:.60}: has contents and raw_input_contents; expected one of them"
            )
        if raw:
            texts = tensors.decode_texts(raw[number], tensor.name)
        else:
            elements = enumerate(tensor.contents.bytes_contents)
            texts = [tensors.decode_text(element, f"{tensor.name}[{index}]") for index, element in elements]
        tensors.check_tensor(tensor.name, tensor.datatype, list(tensor.shape), len(texts))
        named.append((tensor.name, texts))
    return named


def grpc_server(state: ServerState, log: RequestLog, api_key: str | None) -> tuple[Any, Any]:
    """The server, to which the caller adds ports, and its health service."""
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", state.limits.body_bytes), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=state.limits.requests,
    )
    service = Service(state)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _handler(name, getattr(service, _snake_case(name)), log, api_key),
            response_serializer=response.SerializeToString,
        )
        for name, (_, response) in wire.methods().items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(wire.SERVICE, handlers),))
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    return server, health


SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def _handler(
    name: str,
    method: Callable[[Any], Awaitable[Call]],
    log: RequestLog,
    api_key: str | None,
) -> Callable[[bytes, Any], Awaitable[Any]]:
    """A method of gRPC, from the bytes of a request to a response."""
    request_class, _ = wire.methods()[name]

    async def answer(content: bytes, context: Any) -> Call:
        if api_key is not None and name not in OPEN and not _has_key(context, api_key):
            raise RefusedError(401, "expected the metadata `authorization: Bearer KEY`", kind="unauthorized")
        try:
            request = request_class.FromString(content)
        except DecodeError as error:
            raise RefusedError(400, str(error)) from error
        return await method(request)

    async def handle(content: bytes, context: Any) -> Any:
        begin, refused, note = time.perf_counter(), None, None
        try:
            response, note = await answer(content, context)
        except RefusedError as error:
            refused = error
        except Exception as error:
            log.fault(name, error)
            refused = fault()
        log.request("grpc", name, 200 if refused is None else refused.status, time.perf_counter() - begin, note)
        if refused is None:
            return response
        trailing = () if refused.retry_s is None else (("retry-after", str(refused.retry_s)),)
        await context.abort(CODES[refused.status], refused.message, trailing)

    return handle


def _has_key(context: Any, api_key: str) -> bool:
    given = dict(context.invocation_metadata() or ()).get("authorization", "")
    return isinstance(given, str) and hmac.compare_digest(given.encode(), f"Bearer {api_key}".encode())


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
