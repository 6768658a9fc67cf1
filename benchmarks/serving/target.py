"""The servers that are compared, each started as a process: `ours` and `bare`, with one of three models."""

import argparse
import contextlib
import threading
import time
from pathlib import Path

import numpy as np

WIDTH = 16
WORK_WIDTH = 1024


class Work:
    """A model of some milliseconds a row, whose batches pay: matrices that are read once for all rows."""

    def __init__(self, layers: int) -> None:
        chance = np.random.default_rng(0)
        self._first = chance.standard_normal((WIDTH, WORK_WIDTH), dtype=np.float32)
        self._layers = [
            chance.standard_normal((WORK_WIDTH, WORK_WIDTH), dtype=np.float32) / WORK_WIDTH**0.5 for _ in range(layers)
        ]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        h = x @ self._first
        for each in self._layers:
            h = np.maximum(h @ each, 0)
        return h[:, :WIDTH].copy()


class Encoder:
    """MiniLM in eager PyTorch on one thread: each row is a sentence of 16 tokens, each answer its first 16 numbers."""

    def __init__(self) -> None:
        import torch

        from gatewise.workloads import WORKLOADS

        torch.set_num_threads(1)
        self._torch = torch
        self._model = WORKLOADS["sentence-encoder"]().original().eval()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        torch = self._torch
        ids = torch.from_numpy(x.astype(np.int64) + 1000)
        with torch.inference_mode():
            found = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(1)
        return found[:, :WIDTH].numpy()


def work_of(asked: argparse.Namespace, layers: int | None = None):
    """What a model computes; None is the echo."""
    if asked.model == "echo":
        return None
    return Encoder() if asked.model == "encoder" else Work(asked.layers if layers is None else layers)


def ours(asked: argparse.Namespace) -> None:
    """Our server, with recording and metrics on."""
    from gatewise import serve
    from gatewise.monitor import Log, Metrics

    work = work_of(asked)

    def call(inputs):
        return {"y": inputs["x"] if work is None else work(inputs["x"])}

    ports = [serve.Tensor("x", "FP32", (-1, WIDTH))], [serve.Tensor("y", "FP32", (-1, WIDTH))]
    first, second = (
        serve.Function(function=call, inputs=ports[0], outputs=ports[1], model="m", version=label)
        for label in ("1", "2")
    )
    metrics = Metrics()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(Log(asked.record))
        watching = serve.Watching(journal=log, counted=metrics.observe)
        settings = serve.ServeSettings(lame_duck_s=asked.window, deadline_s=asked.deadline, max_queue_s=asked.queue)
        if asked.shadow is not None:
            models = [paired(asked, first)]
        else:
            models = [first if asked.canary is None else beside_a_canary(asked, first)]
        app = serve.app(models, settings, watch=watching.watch, metrics=metrics.text)
        if asked.promotions:
            threading.Thread(target=promote, args=(app, [first, second], asked.promotions), daemon=True).start()
        serve.run(app, port=asked.port, started=lambda address: print(address, flush=True))


def another(asked: argparse.Namespace, live, layers: int, version: str):
    """The model once more, with so many layers, loaded for itself."""
    from dataclasses import replace

    work = work_of(asked, layers)
    return replace(live, function=lambda inputs: {"y": work(inputs["x"])}, version=version)


def paired(asked: argparse.Namespace, live):
    """The model with a shadow of other depth (or the same: an A/A comparison) and a copy of live beside it."""
    from gatewise import serve

    shadow, beside = another(asked, live, asked.shadow, "2"), another(asked, live, asked.layers, "1")
    return serve.Routes(live=live, shadow=shadow, shadow_share=asked.share, beside=beside)


def beside_a_canary(asked: argparse.Namespace, live):
    """The model with a canary of other depth (or the same) and a control: a copy of live with as many requests."""
    from gatewise import serve

    canary, control = another(asked, live, asked.canary, "2"), another(asked, live, asked.layers, "1")
    return serve.Routes(live=live, canary=canary, canary_share=asked.share, control=control)


def promote(app, versions, times: int) -> None:
    """Swap the live version again and again."""
    from gatewise.serve import Routes

    time.sleep(2)
    for number in range(times):
        app.route(Routes(live=versions[(number + 1) % 2]))
        time.sleep(0.03)
    print("promoted", flush=True)


def bare(asked: argparse.Namespace) -> None:
    """The least that Starlette can do: the same JSON in and out, no queue, no batch, no record."""
    import orjson
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    work = work_of(asked)

    async def infer(request):
        given = orjson.loads(await request.body())["inputs"][0]
        x = np.asarray(given["data"], dtype=np.float32).reshape(given["shape"])
        y = x if work is None else work(x)
        tensor = {"name": "y", "datatype": "FP32", "shape": y.shape, "data": y.reshape(-1)}
        answer = {"model_name": "m", "model_version": "1", "outputs": [tensor]}
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    app = Starlette(routes=[Route("/v2/models/{model}/infer", infer, methods=["POST"])])
    print(f"http://127.0.0.1:{asked.port}", flush=True)
    uvicorn.run(app, port=asked.port, log_level="warning", access_log=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("server", choices=("ours", "bare"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="echo", choices=("echo", "work", "encoder"))
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--shadow", type=int, help="layers of a shadow; without it there is none")
    parser.add_argument("--share", type=float, default=1.0, help="of the requests that the shadow, or the canary, gets")
    parser.add_argument("--canary", type=int, help="layers of a canary")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--promotions", type=int, default=0)
    parser.add_argument("--window", type=float, default=1.0)
    parser.add_argument("--deadline", type=float, default=30.0)
    parser.add_argument("--queue", type=float, default=0.5)
    asked = parser.parse_args()
    {"ours": ours, "bare": bare}[asked.server](asked)


if __name__ == "__main__":
    main()
