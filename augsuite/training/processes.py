"""Several processes, one training: who this process is, and how they add up numbers.

`torchrun --nproc-per-node N` starts them and says through environment variables which is which.
"""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def rank() -> int:
    """Which of the processes this is; 0 is the one that writes, and the only one where there is no other."""
    return int(os.environ["RANK"]) if world() > 1 else 0


def world() -> int:
    """How many processes train together."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return int(os.environ["WORLD_SIZE"]) if all(os.environ.get(name) for name in names) else 1


def local_rank() -> int:
    """Which of the processes of this machine this is, and so which GPU is its own."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world() > 1 else 0


def join(device: torch.device) -> None:
    """Let the processes talk, from now to the end of this one; where there is one only, nothing happens."""
    import torch.distributed as dist

    if world() > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)  # not earlier: a group made anew with the same store can wait for itself


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def add_up(value: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over the processes; carries no gradient."""
    import torch.distributed as dist

    result = value.detach().clone()
    dist.all_reduce(result)
    return result


def from_main(value: T) -> T:
    """What process 0 has, in all of them; a plain value or one of tensors on the CPU."""
    if world() == 1:
        return value
    import torch.distributed as dist

    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0)
    received: T = box[0]
    return received


def of_all(value: T) -> list[T]:
    """What each process has, by rank, in all of them."""
    if world() == 1:
        return [value]
    import torch.distributed as dist

    box: list[Any] = [None] * world()
    dist.all_gather_object(box, value)
    return box
