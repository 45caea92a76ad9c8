"""Augmentation: draw first, render once."""

from augsuite.augment.feed import Batch, Feed
from augsuite.augment.field import Field
from augsuite.augment.plan import Erase, PixelOp, Plan, Scene, Warp
from augsuite.augment.policies import Policy, policy
from augsuite.augment.render import render
from augsuite.augment.steps import Step

__all__ = ["Batch", "Erase", "Feed", "Field", "PixelOp", "Plan", "Policy", "Scene", "Step", "Warp", "policy", "render"]
