"""The settings of the trainer `finetune`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from augsuite.training.settings import Settings

Rate = Annotated[float, Meta(gt=0)]

# Not beside what uses them: that imports torch, and whoever only checks settings needs none.
Reuse = Literal["none", "names"] | dict[str, int | str]
"""No rows; those of categories with the same name; or those that are named, as rows or as names of the source's categories."""

Unfrozen = Annotated[int, Meta(ge=0)] | Literal["all"]
"""How many of the last stages learn beside the head."""


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some epochs of a training.

    Attributes:
        epochs: how many.
        lr: learning rate of the last stage at its highest; the head learns at `head_lr` times that, as always.
        unfrozen: how many of the last stages learn beside the head: 0 for none, or `all`.
    """

    epochs: Annotated[int, Meta(ge=1)]
    lr: Annotated[float, Meta(gt=0)]
    unfrozen: Unfrozen = "all"


class Config(Settings, frozen=True, kw_only=True):
    """Settings of the trainer `finetune`, beside those of every trainer.

    Attributes:
        model: a classifier of torchvision by name, such as `resnet18`; `lenet` or `alexnet_2012`, which are written out here; or
            `timm.` and the name of a model of timm, such as `timm.xception`, where timm is installed.
        weights: where its weights come from: `default` downloads those that are published, a name such as `IMAGENET1K_V1` those of that
            name, `none` starts from scratch, anything else is the path of a state dict or of safetensors. A head of any number of
            classes in it is replaced.
        size: side of the square input in pixels.
        phases: what learns when: a list of `epochs`, `lr` and `unfrozen`, which take the place of the settings of those names. Each phase
            begins the schedule of the learning rate anew, and its warm-up.
        unfrozen: how many of the last stages learn beside the head: 0 for the head alone, or `all`.
        head_lr: learning rate of the head, as a multiple of `lr`.
        stage_lr: learning rate of each stage, as a multiple of that of the stage after it; the last has `lr`.
        freeze_norm: batch norm keeps its statistics and its weights.
        reuse: begin the rows of the head with those of the source's classifier for categories that it knows: `none`; `names` for those
            whose name it has, too; or a mapping from category to its name or its row there.
        label_smoothing: share of each target that is spread over all classes.
        aux_weight: of the losses of auxiliary classifiers (`googlenet`, `inception_v3`).
    """

    epochs: Annotated[int, Meta(ge=1)] = 5
    batch_size: Annotated[int, Meta(ge=1)] = 32
    warmup_epochs: Annotated[float, Meta(ge=0)] = 0.5
    model: str = "resnet18"
    weights: str = "default"
    size: Annotated[int, Meta(ge=16, le=1024)] = 96
    phases: tuple[Phase, ...] = ()
    unfrozen: Unfrozen = "all"
    head_lr: Rate = 10.0
    stage_lr: Annotated[float, Meta(gt=0, le=1)] = 1.0
    freeze_norm: bool = False
    reuse: Reuse = "none"
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    aux_weight: Annotated[float, Meta(ge=0)] = 0.3

    def __post_init__(self) -> None:
        """Phases say how many epochs there are, and how high the learning rate is at first."""
        if self.phases:
            msgspec.structs.force_setattr(self, "epochs", sum(phase.epochs for phase in self.phases))
            msgspec.structs.force_setattr(self, "lr", self.phases[0].lr)

    def schedule_of_phases(self) -> tuple[Phase, ...]:
        """The phases; one where none are given."""
        return self.phases or (Phase(epochs=self.epochs, lr=self.lr, unfrozen=self.unfrozen),)
