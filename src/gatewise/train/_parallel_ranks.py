"""One training over several processes that torchrun has started: torch's DDP or FSDP2, and what they leave to do.

Each rank draws the whole batch of a step, as one process would, and trains on its own rows of it. Shares are of one
size, so the mean over ranks of the mean over a share is the mean over the batch, for loss and gradients alike.
"""

import math
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from gatewise.core import GatewiseError, unknown_name

from ._checkpoint import Kept
from ._parallel import RANDOM, Alone
from ._workload import Batch, TrainWorkload

T = TypeVar("T")
Parallel = Literal["ddp", "fsdp"]
PARALLEL: tuple[str, ...] = get_args(Parallel)
LAUNCHED_BY = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun puts into the environment of each process."""

TIMEOUT_S = 300.0
_JOINED = count()


class AgreedError(GatewiseError):
    """An error that every rank has raised together, so that one of them need say it."""


def launched() -> int | None:
    """How many processes torchrun has started, or None where this one was not started by it."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in LAUNCHED_BY) else None


@contextmanager
def joined(kind: str, *, device: str = "cpu", timeout_s: float = TIMEOUT_S) -> "Generator[Ranks]":
    """This process as one rank of those that torchrun started, to be given to a `TrainRun` as `processes`.

    `ddp` keeps the whole model on every rank, `fsdp` (FSDP2) a part of weights, gradients and optimiser state. On `cpu`
    they speak over gloo, on `cuda` over nccl, each rank with the GPU of its local number (never run by us).

    A rank that ends or does not answer within `timeout_s` ends the others with a `GatewiseError`. So does bad input.
    """
    if kind not in PARALLEL:
        raise unknown_name("parallel training", kind, PARALLEL)
    if not (math.isfinite(timeout_s) and timeout_s > 0):
        raise GatewiseError(f"the timeout must be seconds above 0, got {timeout_s!r}")
    if launched() is None:
        raise GatewiseError(
            f"parallel = {kind} needs processes, which torchrun starts\n"
            "valid: torchrun --standalone --nproc-per-node 2 and then the program; or train in one process"
        )
    here = torch.device(device, int(os.environ["LOCAL_RANK"])) if device != "cpu" else torch.device("cpu")
    if here.type != "cpu":
        torch.accelerator.set_device_index(here)
    backend, timeout = dist.get_default_backend_for_device(here), timedelta(seconds=timeout_s)
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=timeout)))
        # torchrun's store outlives a group: a second one would be led to the first one's addresses.
        store = PrefixStore(f"gatewise-{next(_JOINED)}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
        yield Ranks(dist.get_rank(), dist.get_world_size(), here, cast(Parallel, kind))
    except RuntimeError as error:
        if not _of_the_others(error):
            raise
        reason = str(error).strip().splitlines()[0].rpartition("] ")[2].partition(". ")[0][:120]
        raise GatewiseError(
            f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} cannot go on: another rank has ended, or has not "
            f"answered within {timeout_s:g} s ({reason})\n"
            "what was kept stays: begin again with --resume, or in Python with the same checkpoints"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _of_the_others(error: RuntimeError) -> bool:
    """Whether an error is about the connection to other ranks; gloo's own are plain `RuntimeError`s."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


@dataclass(frozen=True)
class Ranks(Alone):
    """One of several processes that train one model. Every method but `share` is called by all of them at once."""

    kind: Parallel = "ddp"

    @property
    def words(self) -> str:
        return f"{self.kind} over {self.size} processes"

    # -- beginning

    def together(self, make: Callable[[], T]) -> T:
        made, trouble = None, None
        try:
            made = make()
        except GatewiseError as error:
            trouble = str(error)
        told = self._gathered(trouble)
        wrong = [(rank, text) for rank, text in enumerate(told) if text is not None]
        if wrong:
            rank, text = wrong[0]
            raise AgreedError(text if len(wrong) == self.size else f"rank {rank}: {text}")
        return cast(T, made)

    def first(self, make: Callable[[], T]) -> T:
        box: list[Any] = [None, None]
        if self.rank == 0:
            try:
                box[0] = make()
            except GatewiseError as error:
                box[1] = str(error)
        dist.broadcast_object_list(box, src=0)
        if box[1] is not None:
            raise AgreedError(box[1])
        return box[0]

    def _gathered(self, content: T) -> list[T]:
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, content)
        return found

    def check(self, model: nn.Module, batch: Batch, diagnostics: Sequence[str]) -> None:
        if diagnostics:
            raise GatewiseError(
                f"diagnostics ({', '.join(diagnostics)}) look at one process alone, not at {self.words}"
            )
        if self.size == 1:
            return
        rows = len(batch[0])
        if rows % self.size or len(batch[1]) != rows:
            near = [each for each in range(rows, 0, -1) if rows % each == 0 and each <= self.size]
            raise GatewiseError(
                f"a batch of {rows} cannot be shared equally by {self.size} processes\n"
                f"valid: a batch that is a multiple of {self.size}, or --nproc-per-node {near[0]} on one machine"
            )
        for name, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
                raise GatewiseError(
                    f"{name} ({type(module).__name__}) normalises over a batch, and over {self.size} shares of one it "
                    "would be another model\nvalid: one process, or a model without batch normalisation"
                )

    def agree(self, identity: dict[str, str]) -> None:
        told = self._gathered({key: text for key, text in identity.items() if key != "torch"})
        for rank, other in enumerate(told):
            for key, text in told[0].items():
                if other.get(key) != text:
                    raise AgreedError(
                        f"rank {rank} would train something else than rank 0: {key} is {other.get(key)} there and "
                        f"{text} here\nevery rank needs the same data, version and arguments"
                    )

    def wrap(self, model: nn.Module) -> nn.Module:
        model.to(self.device)
        if self.kind == "ddp":
            from torch.nn.parallel import DistributedDataParallel

            return DistributedDataParallel(model)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), src=0)
        mesh = init_device_mesh(self.device.type, (self.size,))
        try:
            for block in _blocks(model):
                fully_shard(block, mesh=mesh)
            fully_shard(model, mesh=mesh)
        except (ValueError, NotImplementedError) as error:
            raise AgreedError(f"fsdp cannot shard this model: {str(error).splitlines()[0]}\nvalid: ddp") from error
        return model

    def settle(self, called: nn.Module, loss: Callable[[], Tensor], seed: int) -> None:
        """Random numbers of its own for each rank, and for DDP one backward pass that changes nothing.

        DDP sorts gradients into buckets after the first pass, and where a number stands in one decides in which order
        three or more ranks add it up. With a pass before every first step, a run that goes on adds as it did before.
        """
        if self.kind == "ddp":
            with torch.random.fork_rng(devices=[]):
                loss().backward()
            idle = [name for name, parameter in called.named_parameters() if parameter.grad is None]
            called.zero_grad()
            if idle:
                raise AgreedError(f"ddp needs a gradient for every parameter, and {idle[0]} gets none\nvalid: fsdp")
        self._reseed(seed)

    def _reseed(self, *parts: int) -> None:
        """The first rank goes on as one process would; the others draw numbers of their own."""
        if self.rank:
            sequence = np.random.SeedSequence([*parts, self.rank])
            torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    # -- a step

    def share(self, batch: Batch) -> Batch:
        rows = len(batch[0]) // self.size
        mine = slice(self.rank * rows, (self.rank + 1) * rows)
        return batch[0][mine].to(self.device), batch[1][mine].to(self.device)

    def mean(self, loss: Tensor) -> float:
        total = loss.detach().double()
        dist.all_reduce(total)
        return total.item() / self.size

    def heldout(self, workload: TrainWorkload, model: nn.Module, batches: Sequence[Batch]) -> float:
        """Batch by batch as one process would, each on one rank, added up in one process's order: equal bit by bit.

        All ranks go through the model equally often, because weights in parts are gathered by all.
        """
        rounds = math.ceil(len(batches) / self.size)
        mine = torch.zeros(rounds, dtype=torch.float64, device=self.device)
        model.eval()
        with torch.no_grad():
            for number in range(rounds):
                x, y = batches[min(number * self.size + self.rank, len(batches) - 1)]
                mine[number] = workload.loss(model, (x.to(self.device), y.to(self.device))).double()
        model.train()
        self._reshard(model)
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine)
        losses = torch.stack(parts, dim=1).flatten().tolist()
        total = sum(loss * batch[1].numel() for loss, batch in zip(losses, batches, strict=False))
        return total / sum(batch[1].numel() for batch in batches)

    def _reshard(self, model: nn.Module) -> None:
        """After a forward pass without a backward one FSDP leaves whole weights where the parts belong."""
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def said(self, answer: bool) -> bool:
        found = torch.tensor([int(answer)], device=self.device)
        dist.broadcast(found, src=0)
        return bool(found.item())

    # -- checkpoints

    def whole(self, tensor: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor

        found = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        return found.cpu() if self.rank == 0 else found.new_empty(0)

    def put(self, target: Tensor, value: Tensor) -> None:
        from torch.distributed.tensor import DTensor, distribute_tensor

        here = torch.empty_like(value, device=self.device) if value.is_meta else value.to(self.device)
        if isinstance(target, DTensor):
            target.copy_(distribute_tensor(here, target.device_mesh, target.placements))
        else:
            dist.broadcast(here, src=0)
            target.copy_(here)

    def moment(self, parameter: Tensor, value: Tensor) -> Tensor:
        like = value.shape == parameter.shape
        made = torch.zeros_like(parameter, dtype=value.dtype) if like else torch.zeros(value.shape, dtype=value.dtype)
        self.put(made, value)
        return made

    def random_states(self) -> dict[str, Tensor]:
        states = self._gathered(torch.random.get_rng_state())
        return {f"{RANDOM}.{rank}" if rank else RANDOM: state for rank, state in enumerate(states)}

    def random_restore(self, states: dict[str, Any]) -> None:
        state = states.get(f"{RANDOM}.{self.rank}" if self.rank else RANDOM)
        if state is not None:  # none is there for a rank that the run did not have before
            torch.random.set_rng_state(state)

    def kept(self, read: Callable[[], Kept | None]) -> Kept | None:
        here: list[Kept] = []

        def empty() -> Kept | None:
            found = read()
            if found is None:
                return None
            here.append(found)
            return replace(found, weights=_outlines(found.weights), moments=_outlines(found.moments))

        sent = self.first(empty)
        return here[0] if here else sent

    def plain(self, model: nn.Module, weights: dict[str, Tensor], fresh: Callable[[], nn.Module]) -> nn.Module:
        if self.rank or self.kind == "ddp":
            return model
        made = fresh()
        with torch.no_grad():
            for name, target in (*made.named_parameters(), *made.named_buffers()):
                target.copy_(weights[name])
        return made


def _outlines(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names, shapes and types without the numbers; the small states of random numbers whole."""
    return {key: tensor if key.startswith(RANDOM) else tensor.to("meta") for key, tensor in tensors.items()}


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The layers that are gathered one at a time: items of lists and sequences that hold modules, inner ones first."""
    lists = (nn.ModuleList, nn.Sequential)
    items = [item for module in model.modules() if isinstance(module, lists) for item in module]
    found = [item for item in dict.fromkeys(items) if not isinstance(item, lists) and next(item.children(), None)]
    return [item for item in reversed(found) if next(item.parameters(), None) is not None]
