"""Augmentation: draw first, render once."""

from augsuite.augment.feed import Batch, Feed
from augsuite.augment.plan import Plan, Scene, Warp
from augsuite.augment.policies import Policy, Step, policy
from augsuite.augment.render import render

__all__ = ["Batch", "Feed", "Plan", "Policy", "Scene", "Step", "Warp", "policy", "render"]
