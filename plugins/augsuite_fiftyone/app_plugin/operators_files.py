"""The operators `save_policy`, `tag` and `export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import msgspec
from fiftyone.operators import types

from augsuite import AugsuiteError, ConfigError, formats, write
from augsuite.augment.saved import check_name, save
from augsuite_fiftyone.app_plugin import forms
from augsuite_fiftyone.app_plugin.originals import check_images, label_fields
from augsuite_fiftyone.app_plugin.parameters import chosen

_PLACING = {
    "copy": "copied",
    "hardlink": "linked (hard links)",
    "symlink": "linked (symbolic links)",
    "none": "left where they are",
}


class SavePolicy(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """Keep a policy under a name."""

    @property
    def config(self) -> Any:
        """How FiftyOne calls it."""
        return foo.OperatorConfig(
            name="save_policy",
            label="augsuite: save a policy",
            description="Save a policy under a name, for the App and for every command",
            dynamic=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """The form."""
        inputs = types.Object()
        forms.choose_policy(inputs, ctx.params)
        inputs.str("name", required=True, label="Save as", description="Letters, digits, - and _.")
        inputs.bool("overwrite", default=False, label="Replace one that was saved under this name")
        try:
            policy = chosen(ctx.params)
            if ctx.params.get("name"):
                check_name(str(ctx.params["name"]), overwrite=bool(ctx.params.get("overwrite")))
            inputs.md(f"```yaml\n{policy.to_yaml()}```", name="shown")
        except AugsuiteError as error:
            forms.problem(inputs, error)
        return forms.as_prompt(inputs, "Save a policy", "Save")

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Write it."""
        name = str(ctx.params.get("name") or "")
        path = save(_named(ctx.params, name), name, overwrite=bool(ctx.params.get("overwrite")))
        said = f"Saved as {name}: {path}"
        ctx.ops.notify(said, variant="success")
        return {"said": said, "path": str(path)}


class Tag(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """Tag samples."""

    @property
    def config(self) -> Any:
        """How FiftyOne calls it."""
        return foo.OperatorConfig(
            name="tag",
            label="augsuite: tag samples",
            description="Add tags to samples, or remove them",
            dynamic=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """The form."""
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Tag")
        inputs.str("tags", required=True, label="Tags", description="One, or several with commas between them.")
        inputs.bool("remove", default=False, label="Remove them instead")
        return forms.as_prompt(inputs, "Tag samples", "Tag")

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Tag them."""
        tags = [tag.strip() for tag in str(ctx.params.get("tags") or "").split(",") if tag.strip()]
        if not tags:
            raise ConfigError("there is no tag. Give one.")
        collection = forms.target(ctx)
        remove = bool(ctx.params.get("remove"))
        (collection.untag_samples if remove else collection.tag_samples)(tags)
        count = len(collection)
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"{'Untagged' if remove else 'Tagged'} {count:,} samples.", variant="success")
        return {"samples": count}


class Export(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """Write samples in a format."""

    @property
    def config(self) -> Any:
        """How FiftyOne calls it."""
        return foo.OperatorConfig(
            name="export",
            label="augsuite: export",
            description="Write samples and their labels in any format that augsuite writes",
            dynamic=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """The form."""
        inputs = types.Object()
        try:
            if ctx.dataset is None:
                raise ConfigError("no dataset is open. Open one.")
            check_images(ctx.view)
            inputs.view_target(ctx, action_description="Export")
            known = {name: spec.summary for name, spec in formats().items() if spec.writable and not _is_ours(name)}
            inputs.enum("format", list(known), default="coco", label="Format", view=forms.dropdown(known))
            fields = list(label_fields(ctx.dataset))
            if fields:
                first = "ground_truth" if "ground_truth" in fields else fields[0]
                inputs.enum("field", fields, default=first, label="Labels")
            inputs.str(
                "folder", required=True, label="Folder", description="To be made; it must not exist, or be empty."
            )
            inputs.enum(
                "images",
                list(_PLACING),
                default="copy",
                label="Image files are",
                view=forms.radio(_PLACING),
            )
            inputs.bool(
                "sidecar",
                default=False,
                label="Keep what the format cannot hold in a file beside it",
                description="From it, augsuite reads everything back.",
            )
        except AugsuiteError as error:
            forms.problem(inputs, error)
        return forms.as_prompt(inputs, "Export", "Export")

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Write them."""
        from augsuite_fiftyone.store import load

        params = ctx.params
        collection = forms.target(ctx)
        folder = Path(str(params.get("folder") or "").strip()).expanduser()
        if not folder.is_absolute():
            raise ConfigError(f"{folder}: give the folder's whole path.")
        data = load(collection, **({"field": params["field"]} if params.get("field") else {}))
        losses = write(
            data,
            folder,
            str(params.get("format") or "coco"),
            images=params.get("images") or "copy",
            sidecar=bool(params.get("sidecar")),
        )
        lost = ", ".join(f"{name} ({count:,})" for name, count in losses.most_common())
        kept = " (kept in the sidecar)" if lost and params.get("sidecar") else ""
        said = f"{len(data):,} images, {len(data.annotations):,} labels: {folder}. Lost: {lost or 'nothing'}{kept}."
        return {"said": said, "images": len(data), "losses": dict(losses)}

    def resolve_output(self, ctx: Any) -> Any:
        """What was lost."""
        outputs = types.Object()
        outputs.str("said", label=str((ctx.results or {}).get("said", "")), view=types.Notice())
        return types.Property(outputs)


OPERATORS = [SavePolicy, Tag, Export]


def _is_ours(name: str) -> bool:
    return name == "fiftyone"


def _named(params: Mapping[str, Any], name: str) -> str:
    return msgspec.structs.replace(chosen(params), name=name).to_yaml()
