"""Forms of the App, made of what transforms and policies declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiftyone.operators import types

from augsuite import AugsuiteError, ConfigError
from augsuite_fiftyone.app_plugin import parameters
from augsuite_fiftyone.app_plugin.originals import label_fields
from augsuite_fiftyone.app_plugin.parameters import PARTS, Parameter

_HOW = {"policy": "A policy by its name", "step": "One step", "yaml": "A policy as YAML"}


def target(ctx: Any) -> Any:
    """The dataset or view that an operator is meant for: what its form says; without one, the selection, else the view.

    Raises:
        ConfigError: if no dataset is open.
    """
    if ctx.dataset is None:
        raise ConfigError("no dataset is open. Open one.")
    said = ctx.params.get("view_target") or ctx.request_params.get("view_target")
    if said is None and ctx.selected:
        return ctx.view.select(ctx.selected)
    return ctx.target_view()


def choose_policy(inputs: Any, params: Mapping[str, Any]) -> None:
    """Ask for a policy: by name, as one step with its parameters, or as YAML. `parameters.chosen` reads the answer.

    Args:
        inputs: the form, a `types.Object`.
        params: what it holds so far.
    """
    how = params.get("how") or "policy"
    inputs.enum("how", list(_HOW), default="policy", label="Augment with", view=radio(_HOW))
    if how == "policy":
        known = parameters.policies()
        inputs.enum("policy", list(known), default="flip", label="Policy", view=dropdown(known))
    elif how == "yaml":
        inputs.str(
            "yaml",
            default="- {do: hflip, p: 0.5}\n",
            label="Policy",
            description="A policy file, or its list of steps.",
            view=types.CodeView(language="yaml"),
        )
    else:
        _choose_step(inputs, params)


def _choose_step(inputs: Any, params: Mapping[str, Any]) -> None:
    known = parameters.transforms()
    inputs.enum("step", list(known), default="hflip", label="Step", view=dropdown(known))
    name = str(params.get("step") or "hflip")
    asked = parameters.parameters(name)
    if asked:
        form = types.Object()
        for each in asked:
            _ask(form, each)
        inputs.define_property(parameters.form_name(name), form, label=f"Parameters of {name}")
    inputs.float("p", default=1.0, min=0, max=1, label="Probability", description="That it happens to an image.")


def _ask(form: Any, each: Parameter) -> None:
    about = {"label": each.name, "description": each.about or None}
    if each.kind == "bool":
        form.bool(each.name, default=each.default, **about)
    elif each.kind in {"int", "float"}:
        _ask_number(form, each.name, each, each.default, about)
    elif each.kind == "choice":
        form.enum(each.name, list(each.choices), default=each.default, **about)
    elif each.kind == "numbers":
        row = types.Object()
        for part, default in zip(PARTS, each.default or [None] * each.count, strict=False):
            _ask_number(row, part, each, default, {"label": part, "view": types.View(space=12 // each.count)})
        form.define_property(each.name, row, view=types.HStackView(), **about)
    else:
        form.str(each.name, default=parameters.flow(each.default), required=each.required, allow_empty=True, **about)


def _ask_number(form: Any, name: str, each: Parameter, default: Any, about: Mapping[str, Any]) -> None:
    ask = form.int if each.whole else form.float
    ask(name, min=each.low, max=each.high, default=default, **about)


def choose_fields(inputs: Any, collection: Any) -> None:
    """Ask which label fields to carry; `carried_fields` reads the answer."""
    known = label_fields(collection)
    if not known:
        return
    form = types.Object()
    for name, kind in known.items():
        form.bool(name, default=True, label=f"{name} ({kind})", view=types.CheckboxView())
    inputs.define_property("carry", form, label="Labels to carry")


def carried_fields(params: Mapping[str, Any], collection: Any) -> list[str]:
    """The label fields to carry; all by default. In Python also a list of names."""
    said = params.get("carry")
    if isinstance(said, list | tuple):
        return [str(name) for name in said]
    return [name for name in label_fields(collection) if (said or {}).get(name, True)]


def problem(inputs: Any, error: AugsuiteError) -> None:
    """Say what is wrong, in one line, and let nobody submit the form."""
    said = parameters.one_line(error)
    refused = inputs.str("problem", label="This cannot be done", description=said, view=types.Error())
    refused.invalid = True
    refused.error_message = said


def image(inputs: Any, uri: str, said: str) -> None:
    """Show a picture. Each has a name of its own: the App keeps what a field held, and would go on showing the first."""
    name = f"preview_{hash(uri) & 0xFFFFFFFF:08x}"
    inputs.str(name, default=uri, label="Preview", description=said, view=types.ImageView(read_only=True))


def as_prompt(inputs: Any, title: str, button: str) -> Any:
    """The form with a title and the words on its button."""
    return types.Property(inputs, view=types.PromptView(label=title, submit_button_label=button))


def radio(choices: Mapping[str, str]) -> Any:
    """One of a few: value -> what it says."""
    view = types.RadioGroup()
    for value, label in choices.items():
        view.add_choice(value, label=label)
    return view


def dropdown(choices: Mapping[str, str]) -> Any:
    """One of many: value -> what is said about it."""
    view = types.AutocompleteView()
    for value, about in choices.items():
        view.add_choice(value, label=value, description=about)
    return view
