"""A Dask cluster as a study meets it: reached within a bounded time, and every worker of the same versions."""

import asyncio
import logging
import warnings
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gatewise.core import GatewiseError, MissingExtraError, available_memory_bytes, unknown_name

from . import _dask_task
from ._plan import seconds

TIMEOUT_S = 10.0
WORKERS = 2
"""Of a cluster of its own: as many as processes would run."""

MEMORY_SHARE = 0.85
"""Of the memory that is free when they start: what they may take, all together."""

PROTOCOL_PACKAGES = ("python", "dask", "distributed")
"""What scheduler, workers and client must have in the same version to understand each other."""


def check_installed() -> None:
    """Raises `MissingExtraError` where Dask is not installed."""
    if find_spec("distributed") is None:
        raise MissingExtraError("dask.distributed", "dask")


def parse(address: str) -> tuple[str, float]:
    """`HOST:PORT`, or `HOST:PORT?timeout=30s`, as Dask's own address and seconds. Raises `GatewiseError`."""
    shown = f"--on dask://{address}"
    try:
        parts = urlsplit(f"dask://{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise GatewiseError(f"{shown} is no address ({error})\nvalid: dask://HOST:PORT") from None
    if not host or not port or parts.username is not None or parts.path.strip("/") or parts.fragment:
        raise GatewiseError(f"{shown} is no address\nvalid: dask://HOST:PORT, for instance dask://127.0.0.1:8786")
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    for key in settings:
        if key != "timeout":
            raise unknown_name("setting of a Dask address", key, ("timeout",))
    timeout_s = seconds(settings["timeout"]) if "timeout" in settings else TIMEOUT_S
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}", timeout_s


@contextmanager
def quiet() -> Generator[None]:
    """Dask's own log lines are for whoever runs a cluster; a study says in its own words what matters to it."""
    import_module("distributed")  # sets its loggers up
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ("distributed", "tornado")]
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def connected(address: str, timeout_s: float) -> Generator[Any]:
    """A client of the cluster at an address, whose workers are all fit for a study.

    Raises `GatewiseError` where it cannot be reached in time, has no workers, or runs other versions.
    """
    from distributed import Client

    reach(address, timeout_s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of differing versions: `check_versions` has more to say
        try:
            client: Any = Client(address, timeout=timeout_s, set_as_default=False)
        except (OSError, ValueError) as error:
            raise _unreachable(address, timeout_s, error) from error
    try:
        try:
            client.wait_for_workers(1, timeout=timeout_s)
        except TimeoutError as error:
            raise GatewiseError(
                f"the Dask cluster at {address} has no workers, also after {timeout_s:g} s"
                f"\nstart some with: dask worker {address} --nthreads 1"
            ) from error
        check_versions(client)
        yield client
    finally:
        client.close(timeout=timeout_s)


def reach(address: str, timeout_s: float) -> None:
    """Ask whatever listens there who it is. Raises `GatewiseError` where that takes long, or it is no scheduler.

    A client of Dask would wait for ever for somebody who listens and says nothing.
    """

    async def bounded() -> str:
        return await asyncio.wait_for(_kind(address, timeout_s), timeout_s)

    try:
        with ThreadPoolExecutor(1) as pool:  # the caller may have an event loop of its own, as notebooks do
            kind = pool.submit(asyncio.run, bounded()).result()
    except (OSError, ValueError) as error:
        raise _unreachable(address, timeout_s, error) from error
    except MemoryError:  # how Dask takes the first bytes of another protocol: as a size
        kind = "something else"
    if kind != "Scheduler":
        raise GatewiseError(
            f"what answers at {address} is no Dask scheduler but {'a worker' if kind == 'Worker' else 'something else'}"
            "\ngive the address that dask scheduler prints when it starts"
        )


async def _kind(address: str, timeout_s: float) -> str:
    from distributed.comm.core import connect

    comm: Any = await connect(address, timeout=timeout_s)
    try:
        await comm.write({"op": "identity", "reply": True})
        return str((await comm.read())["type"])
    finally:
        comm.abort()


def _unreachable(address: str, timeout_s: float, error: Exception) -> GatewiseError:
    found: BaseException | None = error
    reason = ""
    while found is not None and not reason:
        reason = (found.strerror or "") if isinstance(found, OSError) else ""
        found = found.__cause__ or found.__context__
    return GatewiseError(
        f"no Dask scheduler answers at {address} within {timeout_s:g} s{f' ({reason})' if reason else ''}"
        "\nstart one with: dask scheduler; leave --on out to train on this machine"
    )


@contextmanager
def local() -> Generator[Any]:
    """A client of a cluster of its own: two workers of one thread, bounded in memory, on the loopback alone."""
    from distributed import Client, LocalCluster

    free = available_memory_bytes()
    no_page: Any = None  # which Dask takes, whatever its annotation says
    cluster: Any = LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        memory_limit=int(MEMORY_SHARE * free / WORKERS) if free else "auto",
        dashboard_address=no_page,
        scheduler_kwargs={
            "dashboard_address": "127.0.0.1:0"
        },  # what is left of it, a page of health, is on no fixed port
        silence_logs=logging.CRITICAL,
    )
    try:
        with Client(cluster, set_as_default=False) as client:
            yield client
    finally:
        cluster.close()


def check_versions(client: Any) -> None:
    """Raises `GatewiseError` where a worker has other versions than this process, or cannot import gatewise."""
    found = client.get_versions(check=False)
    mine = found["client"]["packages"]
    nodes = {"the scheduler": found["scheduler"]} | {f"worker {name}": info for name, info in found["workers"].items()}
    here = {name: str(mine[name]) for name in PROTOCOL_PACKAGES}
    refuse_differing(here, {name: (info or {}).get("packages", {}) for name, info in nodes.items()})
    abouts = client.run(_dask_task.about, on_error="return")
    for name, about in abouts.items():
        if isinstance(about, BaseException):
            raise GatewiseError(
                f"the Dask worker {name} cannot run gatewise: {_reason_of(about)}"
                f"\ninstall gatewise {_dask_task.versions()['gatewise']} where it runs, or start it in that environment"
            )
    refuse_differing(_dask_task.versions(), {f"worker {name}": about["versions"] for name, about in abouts.items()})


def _reason_of(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")[:100]


def refuse_differing(here: Mapping[str, str], theirs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises `GatewiseError` naming the first that has other versions than `here`, what differs, and how many do."""
    wrong: dict[str, list[str]] = {}
    for node, has in theirs.items():
        differing = [
            f"{name} {has.get(name, 'none')} (here {version})"
            for name, version in here.items()
            if str(has.get(name)) != version
        ]
        if differing:
            wrong[node] = differing
    if wrong:
        first = next(iter(wrong))
        others = f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
        raise GatewiseError(
            f"{first} of the Dask cluster has {', '.join(wrong[first])}{others}"
            "\nthe runs of one study need the same versions everywhere"
        )
