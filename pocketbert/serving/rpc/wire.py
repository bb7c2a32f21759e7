"""The message classes of open_inference.proto.

They have a descriptor pool of their own: other packages in the same process may define the same names, and generated
code would tie the package to one version of protobuf.
"""

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"

_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(
    files(__package__).joinpath("open_inference.binpb").read_bytes()
).file:
    _pool.Add(_file)


def message(name: str) -> Any:
    """The class of a message, such as ModelInferRequest."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"inference.{name}"))


def methods() -> dict[str, tuple[Any, Any]]:
    """The classes of request and response of each method of the service."""
    service = _pool.FindServiceByName(SERVICE)
    return {
        method.name: (message(method.input_type.name), message(method.output_type.name)) for method in service.methods
    }
