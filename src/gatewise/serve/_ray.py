"""The same application on Ray Serve, where one machine is not enough: as many replicas as wanted, on any machine."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError, MissingExtraError

if TYPE_CHECKING:
    from ._app import App


def ray_application(build: "Callable[[], App]", *, replicas: int = 2, cpus: float = 1.0, name: str = "gatewise") -> Any:
    """A Ray Serve application, for `ray.serve.run` or a Serve configuration file.

    Args:
        build: makes the application with `gatewise.serve.app`; called once in each replica, where it loads its own
            versions and opens its own record folder (a log has one writer: name the folder after the replica).
        replicas: how many run. cpus: what each reserves; a version should not take more threads.

    Raises:
        MissingExtraError: ray is not installed. GatewiseError: no replicas, or no processor for them.
    """
    if replicas < 1 or cpus <= 0:
        raise GatewiseError(f"replicas must be 1 or more and cpus above 0, not {replicas} and {cpus}")
    try:
        from ray import serve  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError("ray", "ray") from None
    deployment = serve.deployment(serve.ingress(build)(), name=name)
    options = {"num_cpus": cpus}
    return deployment.options(num_replicas=replicas, ray_actor_options=options, max_ongoing_requests=1000).bind()
