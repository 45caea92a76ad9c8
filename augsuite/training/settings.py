"""The settings that all trainers share; each trainer's `Config` extends them, with defaults of its own."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
RateOrNone = Annotated[float, Meta(ge=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of every trainer.

    Attributes:
        epochs: passes over the training images.
        batch_size: images in a batch, over all processes.
        lr: learning rate at its highest.
        weight_decay: of the weights, not of biases and normalisation.
        optimizer: `sgd` or `adam` (AdamW).
        momentum: of `sgd`; `adam` keeps its usual betas.
        schedule: of the learning rate: after the warm-up `constant`, `cosine` down to 0, or `step` (times `gamma` at each milestone);
            `onecycle` with its own warm-up and momentum; `range` is the learning-rate range test, which trains nothing of use.
        warmup_epochs: over which the learning rate rises from 0, for `constant`, `cosine` and `step`.
        milestones: shares of the training after which `step` decays.
        gamma: what `step` multiplies the learning rate with.
        clip_norm: largest norm of the gradient of a step; 0 does not clip.
        accumulate: batches in a step of the optimizer, which then is that of one batch so many times as large (batch norm apart).
        ema: decay of an average of the weights, which is what is evaluated and kept; 0 for none.
        input_sizes: random training shapes: each batch has one of these sides; () for the trainer's own input size.
        patience: evaluations without a better metric after which training stops; the best weights are kept, also where it does not
            stop. 0 trains to the end and keeps the last.
        flip_test: evaluate on each image and its mirror image.
        evaluate_every: epochs between evaluations; 0 evaluates at the end only.
        device: `auto` takes the GPU where there is one.
        precision: of the network's arithmetic; `fp16` needs a GPU.
        channels_last: memory layout; faster almost everywhere.
        compile: compile the network with `torch.compile`.
        sync_batch_norm: with several processes, batch norm over all images of a batch instead of a process's own.
        threads: of PyTorch on the CPU; 0 leaves the number as it is.
        deterministic: on a GPU, the same seed gives the same weights, at some cost. On a CPU it always does.
        checkpoint_s: seconds between checkpoints, from which a run that was killed goes on; 0 writes one after every step.
    """

    epochs: Count = 20
    batch_size: Count = 16
    lr: Rate = 1e-3
    weight_decay: RateOrNone = 5e-4
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    schedule: Literal["constant", "cosine", "step", "onecycle", "range"] = "cosine"
    warmup_epochs: RateOrNone = 0.0
    milestones: tuple[Annotated[float, Meta(gt=0, lt=1)], ...] = (0.6, 0.85)
    gamma: Annotated[float, Meta(gt=0, le=1)] = 0.1
    clip_norm: RateOrNone = 0.0
    accumulate: Count = 1
    ema: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    input_sizes: tuple[Annotated[int, Meta(ge=16, le=4096)], ...] = ()
    patience: CountOrNone = 0
    flip_test: bool = False
    evaluate_every: CountOrNone = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    channels_last: bool = True
    compile: bool = False
    sync_batch_norm: bool = False
    threads: CountOrNone = 0
    deterministic: bool = False
    checkpoint_s: RateOrNone = 60.0
