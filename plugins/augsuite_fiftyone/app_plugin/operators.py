"""The operator `augment`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from augsuite import AugsuiteError
from augsuite_fiftyone.app_plugin import forms
from augsuite_fiftyone.app_plugin.originals import Originals, check_images
from augsuite_fiftyone.app_plugin.parameters import chosen, one_line
from augsuite_fiftyone.app_plugin.picture import picture
from augsuite_fiftyone.app_plugin.running import Made, Settings, stepwise
from augsuite_fiftyone.app_plugin.runs import check_key

_AT_ONCE = 128  # images that take no time worth a bar


class Augment(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """Add augmented copies of samples."""

    @property
    def config(self) -> Any:
        """How FiftyOne calls it."""
        return foo.OperatorConfig(
            name="augment",
            label="augsuite: augment samples",
            description="Add augmented copies of samples, with their labels, as new samples",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """The form, with a picture of what the first sample becomes."""
        inputs = types.Object()
        try:
            check_images(ctx.dataset.view() if ctx.dataset is not None else forms.target(ctx))
            check_images(ctx.view)
        except AugsuiteError as error:
            forms.problem(inputs, error)
            return forms.as_prompt(inputs, "Augment samples", "Augment")
        inputs.view_target(ctx, action_description="Augment")
        collection = forms.target(ctx)
        forms.choose_policy(inputs, ctx.params)
        try:
            settings = _settings(ctx.params, collection)
            if settings.run:
                check_key(ctx.dataset, settings.run)
            if not ctx.delegated:
                _show(inputs, collection, settings)
        except AugsuiteError as error:
            forms.problem(inputs, error)
        inputs.int("copies", default=1, min=1, max=1000, label="Copies", description="Of each sample.")
        inputs.int("seed", default=0, min=0, label="Seed", description="The same seed, the same images.")
        forms.choose_fields(inputs, collection)
        inputs.str(
            "folder",
            allow_empty=True,
            label="Folder",
            description="Takes the image files; by default your data folder.",
        )
        inputs.str(
            "run", allow_empty=True, label="Name of the run", description="By default the policy's and a number."
        )
        inputs.enum("encoding", ["jpg", "png"], default="jpg", label="Image files")
        return forms.as_prompt(inputs, "Augment samples", "Augment")

    def execute(self, ctx: Any) -> Iterator[Any]:
        """Make the samples."""
        try:
            collection = forms.target(ctx)
            made = None
            for told in stepwise(collection, _settings(ctx.params, collection)):
                if isinstance(told, Made):
                    made = told
                    continue
                done, total = told
                if ctx.delegated:
                    ctx.set_progress(done / total, f"{done:,} of {total:,}")
                elif total > _AT_ONCE:
                    yield ctx.ops.set_progress(label=f"{done:,} of {total:,}", progress=done / total)
        except AugsuiteError as error:
            yield ctx.ops.notify(one_line(error), variant="error")
            raise
        if made is not None:
            yield ctx.ops.reload_dataset()
            yield ctx.ops.notify(_said(made), variant="success")


OPERATORS = [Augment]


def _settings(params: Mapping[str, Any], collection: Any) -> Settings:
    folder = str(params.get("folder") or "").strip()
    return Settings(
        policy=chosen(params),
        fields=forms.carried_fields(params, collection),
        seed=int(params.get("seed") or 0),
        copies=int(params.get("copies") or 1),
        folder=Path(folder) if folder else None,
        run=str(params.get("run") or "").strip(),
        encoding=str(params.get("encoding") or "jpg"),
    )


def _show(inputs: Any, collection: Any, settings: Settings) -> None:
    mixes = any(step.kind in {"mix", "choice"} for step in settings.policy._drawers)  # noqa: SLF001
    # Partners are drawn among all samples; for another step the first is enough.
    ids = collection.values("id") if mixes else collection.limit(1).values("id")
    if not ids:
        inputs.str("nothing", label="There are no samples here.", view=types.Notice())
        return
    uri, said = picture(Originals.of(collection, settings.fields, ids), settings.policy, settings.seed)
    forms.image(inputs, uri, "; ".join(said) or "left as it is")


def _said(made: Made) -> str:
    labels = made.lost["labels"]
    stale = ", ".join(f"{name} of {count:,}" for name, count in made.lost.most_common() if name != "labels")
    left_out = f" Labels that the policy left out: {labels:,}." if labels else ""
    unsaid = f" Attributes that no longer hold: {stale}." if stale else ""
    return f"{len(made.ids):,} new samples: the run {made.run}.{left_out}{unsaid}"
