"""The OpenAPI document of the HTTP interface, and the routes that it describes."""

import re
from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import models_json_schema

from pocketbert import __version__
from pocketbert.serving.rest import messages, routes
from pocketbert.serving.rest.routes import Handler

REFUSALS = {
    400: "The body is no JSON, or has no texts",
    401: "The API key is missing or wrong",
    404: "There is no such model or version",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The body is compressed",
    422: "The request does not fit the model, or is over a limit",
    500: "The model failed",
    503: "The server is overloaded or stopping; Retry-After gives seconds",
}
NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
REF = "#/components/schemas/{model}"


@dataclass(frozen=True)
class Operation:
    """A route. `takes`: the message in its body. `gives`: that of its response; `many`: a list of these."""

    method: str
    path: str
    handler: Handler
    gives: type[messages.Message] | None = None
    takes: type[messages.Message] | None = None
    many: bool = False


OPERATIONS = (
    Operation("GET", "/health", routes.health),
    Operation("GET", "/ping", routes.health),
    Operation("GET", "/info", routes.info, messages.ServiceInfo),
    Operation("POST", "/predict", routes.predict, messages.Prediction, messages.PredictRequest, many=True),
    Operation("POST", "/", routes.predict, messages.Prediction, messages.PredictRequest, many=True),
    Operation("GET", "/v2", routes.server_metadata, messages.ServerMetadata),
    Operation("GET", "/v2/health/live", routes.live, messages.Health),
    Operation("GET", "/v2/health/ready", routes.ready, messages.Health),
    *(
        operation
        for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
        for operation in (
            Operation("GET", path, routes.model_metadata, messages.ModelMetadata),
            Operation("GET", f"{path}/ready", routes.model_ready, messages.ModelReady),
            Operation("POST", f"{path}/infer", routes.infer, messages.InferenceResponse, messages.InferenceRequest),
        )
    ),
    Operation("POST", "/v2/repository/index", routes.repository_index, messages.IndexedModel, many=True),
    Operation("POST", "/v2/repository/models/{name}/load", routes.repository_load),
)


def document(*, needs_key: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    used: list[type[messages.Message]] = [messages.Error]
    used += [each for operation in OPERATIONS for each in (operation.takes, operation.gives) if each is not None]
    _, schemas = models_json_schema([(each, "validation") for each in dict.fromkeys(used)], ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "PocketBERT", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }
    if needs_key:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"key": []}]
    return described


def _described(operation: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "Success"}}
    if operation.gives is not None:
        answers["200"]["content"] = {"application/json": {"schema": _answer_schema(operation)}}
    for status, description in REFUSALS.items():
        answers[str(status)] = {
            "description": description,
            "content": {"application/json": {"schema": _reference(messages.Error)}},
        }
    if operation.handler in (routes.ready, routes.model_ready):
        answers["503"] = answers["200"] | {"description": "The server is stopping"}
    described: dict[str, Any] = {
        "summary": (operation.handler.__doc__ or "").strip(),
        "operationId": re.sub(r"\W+", "_", f"{operation.method.lower()}{operation.path}").strip("_"),
        "parameters": [each for each in (NAME, VERSION) if f"{{{each['name']}}}" in operation.path],
        "responses": answers,
    }
    if operation.takes is not None:
        schema = _reference(operation.takes)
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _answer_schema(operation: Operation) -> dict[str, Any]:
    assert operation.gives is not None
    one = _reference(operation.gives)
    if operation.takes is messages.PredictRequest:  # a list per text; without the outer list for a single text
        return {"type": "array", "items": {"anyOf": [one, {"type": "array", "items": one}]}}
    return {"type": "array", "items": one} if operation.many else one


def _reference(message: type[messages.Message]) -> dict[str, str]:
    return {"$ref": REF.format(model=message.__name__)}
