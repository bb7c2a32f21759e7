"""The JSON of the HTTP interface: requests are checked, responses and errors are described for OpenAPI."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator
from pydantic_core import PydanticCustomError

from pocketbert.serving.core.limits import RefusedError

MOST_ERRORS = 3  # of one request that the message names
BATCH = '[["a text"], ["another text"]]'
INPUTS = f'expected "a text", ["a text", "its pair"], or a batch such as {BATCH}'
Sequences = Annotated[list[str], Field(min_length=1, max_length=2)]


class Message(BaseModel):
    """A JSON object. Other keys than those below are ignored, as the protocols ask."""

    model_config = ConfigDict(strict=True, protected_namespaces=())


Parsed = TypeVar("Parsed", bound=Message)


class InputTensor(Message):
    """Texts. `data` is missing if they follow the JSON as bytes."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=2)]
    datatype: Literal["BYTES"]
    parameters: dict[str, Any] | None = None
    data: list[str] | list[list[str]] | None = None


class RequestedOutput(Message):
    """An output that the response should have."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequest(Message):
    """A request of the Open Inference Protocol. The parameter `truncate`: false refuses texts that are too long."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=2)]
    outputs: list[RequestedOutput] | None = None


class ResponseTensor(Message):
    """An output."""

    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[str] | list[float] | None = None


class InferenceResponse(Message):
    """A response of the Open Inference Protocol. The parameter `truncated` counts texts that were cut."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, int]
    outputs: list[ResponseTensor]


class MetadataTensor(Message):
    """An input or output; -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Message):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[MetadataTensor]
    outputs: list[MetadataTensor]
    properties: dict[str, str]


class ServerMetadata(Message):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class Health(Message):
    """Whether the server is alive, or ready."""

    live: bool | None = None
    ready: bool | None = None


class ModelReady(Message):
    """Whether a model is ready."""

    name: str
    ready: bool


class IndexedModel(Message):
    """A model in the repository index."""

    name: str
    version: str
    state: str
    reason: str


class PredictRequest(Message):
    """A request of text-embeddings-inference: a text, a pair, or a batch of lists of one text or of two."""

    inputs: str | Sequences | list[Sequences]
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = None
    raw_scores: bool = False

    @field_validator("inputs", mode="wrap")
    @classmethod
    def _with_one_message(cls, inputs: object, read: ValidatorFunctionWrapHandler) -> Any:
        """The inputs, or one message in place of one for each form."""
        try:
            return read(inputs)
        except ValidationError as error:
            raise PydanticCustomError("inputs", INPUTS) from error

    def sequences(self) -> tuple[list[list[str]], bool]:
        """The texts and pairs, each as a list, and whether the client sent a batch."""
        inputs = self.inputs
        if isinstance(inputs, str):
            return [[inputs]], False
        single = [each for each in inputs if isinstance(each, str)]
        if single:
            return [single], False
        return [each for each in inputs if isinstance(each, list)], True


class Prediction(Message):
    """The score of one label: its probability, or its logit for `raw_scores`."""

    score: float
    label: str


class ServiceInfo(Message):
    """The information of text-embeddings-inference about its model."""

    model_id: str
    model_sha: str
    model_dtype: str
    model_type: dict[str, Any]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_client_batch_size: int
    auto_truncate: bool
    version: str


class Error(Message):
    """Why a request was refused."""

    error: str
    error_type: str


def parse(message: type[Parsed], content: bytes) -> Parsed:
    """The message in a body. Raises RefusedError: 400 if it is no JSON, 422 if it is another message."""
    try:
        return message.model_validate_json(content)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        status = 400 if problems[0]["type"] == "json_invalid" else 422
        described = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}"[:200]
            for problem in problems[:MOST_ERRORS]
        )
        raise RefusedError(status, described) from error
