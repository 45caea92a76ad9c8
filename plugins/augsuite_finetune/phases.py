"""The schedule of fine-tuning: which stages learn when, and how fast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from augsuite.errors import ConfigError
from augsuite_finetune.settings import Phase
from augsuite_finetune.stages import Stage


def check_phases(phases: Iterable[Phase], stages: Sequence[Stage], name: str) -> None:
    """Stop where a phase unfreezes more than there is.

    Raises:
        ConfigError: names the stages.
    """
    for phase in phases:
        if phase.unfrozen != "all" and phase.unfrozen > len(stages):
            listed = ", ".join(stage.name for stage in stages)
            raise ConfigError(f"finetune: unfrozen is {phase.unfrozen}, and {name} has {len(stages)} stages: {listed}.")


@dataclass(frozen=True)
class Layers:
    """A network as stages and heads, which a phase sets to learn or to rest.

    Attributes:
        model: the network.
        stages: from the images to the head.
        heads: dotted names of the heads, and of the auxiliary classifiers with theirs.
        head_lr: learning rate of the heads, as a multiple of the last stage's.
        stage_lr: of each stage, as a multiple of that of the stage after it.
        freeze_norm: batch norm keeps its statistics and its weights, except in the heads.
    """

    model: nn.Module
    stages: list[Stage]
    heads: list[str]
    head_lr: float
    stage_lr: float
    freeze_norm: bool

    def learning(self, phase: Phase) -> list[Stage]:
        """The stages that learn in a phase."""
        return self.stages if phase.unfrozen == "all" else self.stages[max(0, len(self.stages) - phase.unfrozen) :]

    def thaw(self, phase: Phase, weight_decay: float) -> list[dict[str, Any]]:
        """Give gradients to what learns in a phase, and to nothing else.

        Args:
            phase: the one that begins.
            weight_decay: of the weights, not of biases and normalisation.

        Returns:
            The parameter groups of what learns, from the last stage to the first, and then the heads: `params`, `lr`, `weight_decay`.
        """
        parts = [
            (stage.parameters, phase.lr * self.stage_lr**above)
            for above, stage in enumerate(reversed(self.learning(phase)))
        ]
        parts.append(([weight for head in self._heads() for weight in head.parameters()], phase.lr * self.head_lr))
        self.model.requires_grad_(False)
        for weights, _ in parts:
            for weight in weights:
                weight.requires_grad_()
        for norm in norms_of(self.model) if self.freeze_norm else ():
            norm.requires_grad_(False)
        for head in self._heads():
            head.requires_grad_()
        learn = [([weight for weight in weights if weight.requires_grad], rate) for weights, rate in parts]
        return [
            {"params": chosen, "lr": rate, "weight_decay": decay}
            for weights, rate in learn
            for chosen, decay in (
                ([weight for weight in weights if weight.ndim > 1], weight_decay),
                ([weight for weight in weights if weight.ndim <= 1], 0.0),
            )
            if chosen
        ]

    def set_mode(self, phase: Phase) -> None:
        """Put each part into the mode that it trains in.

        What is frozen runs as it will be used: batch norm with its statistics, which do not change, and no dropout.

        Args:
            phase: the present one.
        """
        self.model.train()
        resting = self.stages[: len(self.stages) - len(self.learning(phase))]
        for stage in resting:
            for path in stage.paths:
                self.model.get_submodule(path).eval()
        if self.freeze_norm:
            self.rest_norms()
            for head in self._heads():
                head.train()

    def rest_norms(self) -> None:
        """Let batch norm use its statistics, of all layers: for a batch of one image, which may have none of its own."""
        for norm in norms_of(self.model):
            norm.eval()

    def _heads(self) -> list[nn.Module]:
        return [self.model.get_submodule(path) for path in self.heads]


def norms_of(model: nn.Module) -> list[nn.Module]:
    """The batch norms of a network, synchronised ones included."""
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001 - what all have in common
