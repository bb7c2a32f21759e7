"""What the HTTP and the gRPC interface share: the bundles, and whether the server is ready."""

from collections.abc import Mapping, Sequence

from compress.common.errors import UserError
from pocketbert.serving.core.limits import Limits, RefusedError
from pocketbert.serving.core.metrics import Metrics
from pocketbert.serving.core.served_bundle import ServedBundle

MODEL_VERSION = "1"  # the protocol asks for versions; a bundle that is loaded again has the same one
PLATFORM = "onnx_onnxv1"
EXTENSIONS = ("binary_tensor_data", "model_repository")


class ServerState:
    """The bundles by name, and whether the server is stopping.

    `first`: answers the requests that name no model. `num_open`: requests that are being answered.
    """

    def __init__(self, bundles: Sequence[ServedBundle], limits: Limits, metrics: Metrics) -> None:
        self.bundles: Mapping[str, ServedBundle] = {bundle.name: bundle for bundle in bundles}
        self.first, self.limits, self.metrics = bundles[0], limits, metrics
        self.is_stopping = False
        self.num_open = 0
        for bundle in bundles:
            metrics.describe(bundle)

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent to this server."""
        return not self.is_stopping

    def bundle(self, name: str, version: str = "") -> ServedBundle:
        """The bundle of that name. `version`: empty for any. Raises RefusedError."""
        if version not in ("", MODEL_VERSION):
            raise RefusedError(404, f"this server has version {MODEL_VERSION} of each model")
        if name not in self.bundles:
            raise RefusedError(404, f"model {name!r:.60}: expected one of {', '.join(self.bundles)}")
        return self.bundles[name]

    async def reload(self, bundle: ServedBundle) -> None:
        """Load the folder of a bundle again. Raises UserError; the former model then still answers."""
        await bundle.reload()
        self.metrics.describe(bundle)

    async def reload_for_client(self, name: str) -> None:
        """Load the folder of the bundle of that name again. Raises RefusedError."""
        try:
            await self.reload(self.bundle(name))
        except UserError as error:
            raise RefusedError(422, f"{error}; the former model still answers") from error
