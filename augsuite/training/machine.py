"""What a training asks of the machine and of PyTorch: device, threads, determinism, optimizer, wrappers."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from augsuite.errors import ConfigError
from augsuite.training import processes
from augsuite.training.settings import Settings
from augsuite.training.widened import widen

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(config: Settings, name: str) -> torch.device:
    """The device that the settings ask for; each process of a machine has a GPU of its own.

    Raises:
        ConfigError: if there is none, or it cannot do what is asked.
    """
    found = torch.cuda.is_available()
    if config.device == "cuda" and not found:
        raise ConfigError(f"{name}: device is cuda, and PyTorch finds no GPU. Set device to cpu or auto.")
    if not found or config.device == "cpu":
        if config.precision == "fp16":
            raise ConfigError(f"{name}: precision fp16 needs a GPU. Set precision to bf16 or fp32.")
        return torch.device("cpu")
    if processes.world() == 1:
        return torch.device("cuda")
    index = processes.local_rank()
    if index >= torch.cuda.device_count():
        raise ConfigError(
            f"{name}: {index + 1} processes and {torch.cuda.device_count()} GPUs. Start one process for each GPU."
        )
    return torch.device("cuda", index)


@contextmanager
def prepared(config: Settings, device: torch.device) -> Iterator[None]:
    """Within, PyTorch has the threads and the determinism that the settings ask for."""
    threads = torch.get_num_threads()
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
        torch.use_deterministic_algorithms(mode=True)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=not config.deterministic, deterministic=config.deterministic
        ):
            yield
    finally:
        torch.use_deterministic_algorithms(mode=strict, warn_only=warns)
        torch.set_num_threads(threads)


def make_optimizer(groups: Sequence[dict[str, Any]], config: Settings) -> torch.optim.Optimizer:
    """The optimizer of parameter groups, each with `params`, `weight_decay` and perhaps `lr`."""
    if config.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=config.lr)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)


def placed(network: nn.Module, config: Settings, device: torch.device) -> nn.Module:
    """The same network on its device, laid out and computing as the settings and the device want it."""
    if device.type == "cpu" and config.precision == "bf16":
        widen(network)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    return network.to(device).to(memory_format=layout)


def wrapped(network: nn.Module, config: Settings, device: torch.device, world: int) -> nn.Module:
    """The network as a step calls it: compiled, and adding up gradients with other processes, where that is wanted."""
    model: Any = torch.compile(network) if config.compile else network
    if world > 1:
        model = DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)
    result: nn.Module = model
    return result


def peak_bytes(device: torch.device) -> int:
    """Most memory in use: of the GPU since training began, else of this process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
