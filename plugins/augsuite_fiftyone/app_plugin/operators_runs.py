"""The operators `undo_augment` and `replay`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from augsuite import AugsuiteError, ConfigError
from augsuite_fiftyone.app_plugin import forms
from augsuite_fiftyone.app_plugin.runs import ABOUT, replayed, runs, samples_of, undo

_MANY = 12  # names in a sentence


class UndoAugment(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """Take a run back."""

    @property
    def config(self) -> Any:
        """How FiftyOne calls it."""
        return foo.OperatorConfig(
            name="undo_augment",
            label="augsuite: undo a run",
            description="Remove the samples that a run of augsuite added, and their files",
            dynamic=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """The form: which run, and what goes with it."""
        inputs = types.Object()
        try:
            known = _runs(ctx)
            inputs.enum("run", known, default=known[0], label="Run")
            run = str(ctx.params.get("run") or known[0])
            config = ctx.dataset.get_run_info(run).config if run in known else None
            count = len(samples_of(ctx.dataset, run))
            inputs.str(
                "what",
                label=f"Removes {count:,} samples of this dataset, and their image files",
                description=f"in {config.folder}" if config is not None else "",
                view=types.Warning(),
            )
            button = f"Remove {count:,} samples"
        except AugsuiteError as error:
            forms.problem(inputs, error)
            button = "Remove"
        return forms.as_prompt(inputs, "Undo a run of augsuite", button)

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Remove them."""
        run = str(ctx.params.get("run") or "")
        done = undo(ctx.dataset, run)
        left = f" {done.left:,} other files stay in its folder." if done.left else ""
        said = f"Removed the run {run}: {done.samples:,} samples, {done.files:,} files.{left}"
        if not ctx.delegated:
            ctx.ops.clear_selected_samples()
            ctx.ops.reload_dataset()
            ctx.ops.notify(said, variant="success")
        return {"said": said, "samples": done.samples, "files": done.files}


class Replay(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """Render stored plans again."""

    @property
    def config(self) -> Any:
        """How FiftyOne calls it."""
        return foo.OperatorConfig(
            name="replay",
            label="augsuite: replay plans",
            description="Render the stored plans of augmented samples again, and compare the pixels",
            dynamic=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """The form: which samples."""
        inputs = types.Object()
        try:
            _runs(ctx)
            inputs.view_target(ctx, action_description="Replay")
            count = len(_with_plans(forms.target(ctx)))
            if not count:
                raise ConfigError("none of these samples has a plan. Choose samples that a run of augsuite made.")
            inputs.str(
                "what",
                label=f"{count:,} plans will be rendered again",
                description="Files that are gone are written again; nothing else changes.",
                view=types.Notice(),
            )
        except AugsuiteError as error:
            forms.problem(inputs, error)
        return forms.as_prompt(inputs, "Replay plans", "Replay")

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Render and compare."""
        ids = _with_plans(forms.target(ctx))
        same, written, other = 0, 0, []
        for at, sample in enumerate(ids):
            found = replayed(ctx.dataset, sample)
            same += found.same
            written += found.written
            if not found.same:
                other.append(sample)
            if ctx.delegated:
                ctx.set_progress((at + 1) / len(ids))
        said = f"{same:,} of {len(ids):,} plans gave the same pixels again."
        if other:
            said += f" Others, whose originals or libraries changed: {', '.join(other[:_MANY])}{' ...' * (len(other) > _MANY)}."
        if written:
            said += f" {written:,} files that were gone are back."
        return {"said": said, "same": same, "of": len(ids), "written": written, "other": other}

    def resolve_output(self, ctx: Any) -> Any:
        """What came of it."""
        return _words(ctx.results)


OPERATORS = [UndoAugment, Replay]


def _runs(ctx: Any) -> list[str]:
    if ctx.dataset is None:
        raise ConfigError("no dataset is open. Open one.")
    known = runs(ctx.dataset)
    if not known:
        raise ConfigError("augsuite has made no samples in this dataset yet. Augment some first.")
    return known


def _with_plans(collection: Any) -> list[str]:
    if ABOUT not in collection.get_field_schema():
        return []
    return [str(key) for key in collection.exists(f"{ABOUT}.plan").values("id")]


def _words(results: Mapping[str, Any]) -> Any:
    outputs = types.Object()
    outputs.str("said", label=str(results.get("said", "")), view=types.Notice())
    return types.Property(outputs)
