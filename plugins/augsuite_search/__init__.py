"""Steps that choose: one of several, named sub-policies, and the search spaces that need no search."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TransformKind, TransformSpec


@hookimpl
def augsuite_transforms() -> Iterator[TransformSpec]:
    """What stands for other steps; and AugMix, which blends what they make."""
    for name, summary, target, source in (
        ("one_of", "one of several steps", "options:OneOf", ""),
        (
            "sub_policies",
            "one of several named lists of steps",
            "options:SubPolicies",
            "Cubuk et al. 2019, AutoAugment, section 3, arXiv:1805.09501",
        ),
        (
            "randaugment",
            "several random operations of one magnitude",
            "spaces:RandAugment",
            "Cubuk et al. 2020, RandAugment, section 3, arXiv:1909.13719",
        ),
        (
            "trivialaugment",
            "one random operation of random magnitude",
            "spaces:TrivialAugment",
            "Müller and Hutter 2021, TrivialAugment, section 3, arXiv:2103.10158",
        ),
        (
            "augmix",
            "blend the image with chains of operations on it",
            "mixing:AugMix",
            "Hendrycks et al. 2020, AugMix, section 3, arXiv:1912.02781",
        ),
    ):
        kind: TransformKind = "pixel" if name == "augmix" else "choice"
        yield TransformSpec(name, summary, kind, Ref(f"augsuite_search.{target}"), source)
