"""What the core itself declares, through the same hooks as a plugin."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import CommandSpec, EngineSpec, Ref, TrackerSpec


@hookimpl
def augsuite_engines() -> Iterator[EngineSpec]:
    """This machine."""
    yield EngineSpec("local", "processes on this machine", Ref("augsuite.engines.local:run"))
    yield EngineSpec("inline", "in this process, one item after the other", Ref("augsuite.engines.inline:run"))


@hookimpl
def augsuite_trackers() -> Iterator[TrackerSpec]:
    """Plain files."""
    yield TrackerSpec("files", "metrics.jsonl in the run's folder", Ref("augsuite.study.tracker:open_files"))


@hookimpl
def augsuite_commands() -> Iterator[CommandSpec]:
    """The commands of the core, in the order of a user's work."""
    for name, summary, module in (
        ("convert", "Convert a dataset from one format to another.", "convert"),
        ("stats", "Count images, boxes, classes and sizes of a dataset.", "stats"),
        ("validate", "Report what is wrong with a dataset; repair it.", "validate"),
        ("dedupe", "Find images that show the same, also across splits.", "dedupe"),
        ("diff", "Compare two datasets.", "diff"),
        ("correct", "Bring back what was corrected by hand in CVAT or LabelMe.", "correct"),
        ("anchors", "Suggest anchor shapes for a dataset's boxes.", "anchors"),
        ("tile", "Cut large images and their boxes into overlapping tiles.", "tile"),
        ("merge", "Put several datasets together.", "merge"),
        ("split", "Cut a dataset into train, val, test: stratified, grouped.", "split"),
        ("filter", "Keep images and annotations that satisfy conditions.", "filter"),
        ("remap", "Rename, merge and drop categories.", "remap"),
        ("sample", "Draw some images of a dataset at random.", "sample"),
        ("datasets", "List datasets, fetch a public one, or make one.", "datasets"),
        ("preview", "Draw originals and augmented samples with their boxes.", "preview"),
        ("explain", "Say what a policy comes to: what fuses into what.", "explain"),
        ("replay", "Render a stored plan again, to the same pixels.", "replay"),
        ("augment", "Write an augmented copy of a dataset.", "augment"),
        ("network", "Print the layers of a trainer's network.", "network"),
        ("train", "Train one reference trainer on a dataset.", "train"),
        ("predict", "Ask a trained model about images or videos.", "predict"),
        ("evaluate", "Judge predictions: AP, top-1, where they err.", "evaluate"),
        ("study", "Measure what each augmentation does.", "study"),
        ("doctor", "Check this machine: what is there, what is missing, what to do.", "doctor"),
        ("plugins", "List the plugins, and what went wrong with them.", "plugins"),
        ("formats", "List the dataset formats.", "listings"),
        ("transforms", "List the transforms that a policy can name.", "listings"),
        ("policies", "List the bundled policies; import and export pipelines.", "policies"),
        ("trainers", "List the trainers.", "listings"),
    ):
        yield CommandSpec(name, summary, Ref(f"augsuite.commands.{module}:{name}"))
