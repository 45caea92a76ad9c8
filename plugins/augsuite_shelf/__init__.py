"""A rendered retail shelf: a dataset to detect products in, whose answers are known by construction."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import DatasetSpec, OptionSpec, Ref


@hookimpl
def augsuite_datasets() -> Iterator[DatasetSpec]:
    """The shelf."""
    yield DatasetSpec(
        name="shelf",
        summary="rendered retail shelves: nine product classes, two pairs of which differ only by handedness",
        make=Ref("augsuite_shelf.make:make_shelf"),
        options=(
            OptionSpec(
                "shift",
                "what differs in the validation split: colour and glare of the light, facing, or size of the products",
                choices=("none", "light", "mirror", "scale"),
            ),
            OptionSpec("val", "share of the images in the validation split, above 0 and below 1 (default 0.25)"),
        ),
    )
