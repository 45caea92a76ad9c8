"""What plugins declare: small frozen values that name the work without importing it.

Standard library only. Everything heavy stays behind a `Ref` until it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from augsuite import engines, protocols
    from augsuite.dataset.urls import Store
    from augsuite.engines import together

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ref(Generic[T]):
    """Something to import when it is used.

    Attributes:
        target: `package.module:attribute`.
    """

    target: str

    def __post_init__(self) -> None:
        module, separator, attribute = self.target.partition(":")
        if not (module and separator and attribute):
            msg = f"a Ref is written 'package.module:attribute', got {self.target!r}"
            raise ValueError(msg)

    def load(self) -> T:
        """Import the module and return the attribute.

        Raises:
            ImportError: if the module, or something that it needs, is not installed.
            AttributeError: if the module has no such attribute.
        """
        module, _, attribute = self.target.partition(":")
        found: T = getattr(importlib.import_module(module), attribute)
        return found


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option of a reader or writer: `--option NAME=VALUE` on the command line, a keyword argument in Python.

    Attributes:
        name: the keyword.
        summary: one line for the listing.
        choices: the values allowed; empty where any text is.
        on: whether the reader, the writer or both take it.
        wants: extras beyond `keeps` that the writer looks at where the option is given. The core counts them as lost; a writer
            that writes some takes those back, by a negative count.
    """

    name: str
    summary: str
    choices: tuple[str, ...] = ()
    on: Literal["read", "write", "both"] = "read"
    wants: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """A dataset format on disk.

    Attributes:
        name: what the user types after `--to`.
        summary: one line for the listing.
        patterns: glob patterns, relative to the dataset's folder, of the files that hold annotations.
        keeps: what a round trip gives back: extras by name (`coco.area`, `segmentation`, `score`), all of an owner (`coco.*`) or all
            there are (`*`), and of `names` (images without a file too), `boxes`, `image_labels`, `ids` (or `image_ids` alone), `splits`,
            `sizes`, `ignore`, `empty_images`, `unused_categories`. The rest is counted as lost.
        detect: how sure the plugin is that a path holds this format.
        read: reads it.
        write: writes it; None where it is read only, or written in parts.
        options: what reader and writer take beyond a path.
        read_parts: reads it in parts, in memory that does not grow with the dataset; None where it is read as a whole only.
        write_parts: writes it from parts, in memory that does not grow; it takes the place of `write`.
        scheme: of a format whose datasets are no files: they are called `<scheme>://<name>`, and `detect` says whether one is there. Empty
            for all others.
        store: writes it where it has a scheme (`augsuite.dataset.urls.Store`); it takes the place of `write`.
        resumes: for a writer that goes on where an earlier one was killed, the name of the file or folder by which it knows what is
            finished; "" for one that begins anew. The writer keeps of what is there that which it knows to be right, and removes the rest.
    """

    name: str
    summary: str
    patterns: tuple[str, ...]
    keeps: frozenset[str]
    detect: Ref[protocols.Detect]
    read: Ref[protocols.Read]
    write: Ref[protocols.Write] | None = None
    options: tuple[OptionSpec, ...] = ()
    read_parts: Ref[protocols.ReadParts] | None = None
    write_parts: Ref[protocols.WriteParts] | None = None
    scheme: str = ""
    store: Ref[Store] | None = None
    resumes: str = ""

    @property
    def writable(self) -> bool:
        """Whether it can be written."""
        return any(ref is not None for ref in (self.write, self.write_parts, self.store))


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A dataset that can be made on this machine, by name.

    Attributes:
        name: what the user types after `augsuite datasets make`.
        summary: one line for the listing.
        make: writes the dataset into an empty folder.
        options: what `make` takes, beyond a folder.
    """

    name: str
    summary: str
    make: Ref[protocols.MakeDataset]
    options: tuple[OptionSpec, ...] = ()


TransformKind = Literal["geometric", "pixel", "erase", "mix", "choice", "batch"]


@dataclass(frozen=True, slots=True)
class TransformSpec:
    """One operation that a policy can name.

    Attributes:
        name: what a policy's step says after `do`; a guest's transforms carry its name first (`albumentations.Blur`).
        summary: one line for the listing.
        kind: `geometric` moves pixels and boxes, `pixel` changes values, `erase` hides parts, `mix` combines samples, `choice` stands
            for other steps, `batch` acts on a whole batch.
        params: the `msgspec.Struct` whose fields are the parameters and whose methods do the work; see
            `augsuite.protocols` for what each kind must have.
        source: paper and section, or the documentation that it follows.
        unavailable: why no policy can use it, for a guest's transform that is listed all the same; making its params raises
            that reason.
    """

    name: str
    summary: str
    kind: TransformKind
    params: Ref[type[Any]]
    source: str = ""
    unavailable: str = ""


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """A policy by name.

    Attributes:
        name: what the user types.
        summary: one line for the listing.
        steps: the steps as a policy file would hold them.
        source: the paper or code it comes from.
    """

    name: str
    summary: str
    steps: tuple[Mapping[str, Any], ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """Another library whose pipelines become policies, or the other way round.

    Attributes:
        name: what the user types after `--to`, and the top package of the library's live objects.
        summary: one line for the listing.
        marks: the keys by which a saved pipeline, a mapping, is known; empty where none can be saved.
        load: makes a policy's steps of a pipeline, live or saved; None where that cannot be.
        export: makes a pipeline of a policy; None where that cannot be.
    """

    name: str
    summary: str
    marks: frozenset[str] = frozenset()
    load: Ref[protocols.LoadPipeline] | None = None
    export: Ref[protocols.ExportPipeline] | None = None


@dataclass(frozen=True, slots=True)
class TrainerSpec:
    """A reference trainer.

    Attributes:
        name: what the user types.
        summary: one line for the listing.
        task: what it learns: `detection` from boxes, `classification` from image labels.
        metric: the key of the run record's `metrics` that a study compares; higher is better.
        config: the `msgspec.Struct` of its settings, all with defaults.
        train: trains one run.
        extra: the extra of this distribution that it needs.
        predictor: loads what a run left, to predict on images; None where nothing can.
        network: builds the untrained network, for its table of layers; None where there is none to show.
    """

    name: str
    summary: str
    task: Literal["detection", "classification"]
    metric: str
    config: Ref[type[Any]]
    train: Ref[protocols.Train]
    extra: str = "train"
    predictor: Ref[protocols.LoadPredictor] | None = None
    network: Ref[protocols.BuildNetwork] | None = None


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Where work items run.

    Attributes:
        name: what the user types after `--engine`.
        summary: one line for the listing.
        run: runs work items; see `augsuite.engines.Engine`.
        extra: the extra of this distribution that it needs.
        cluster: whether items may run on other machines: there they see shared files only, and a machine may vanish.
        train: runs several processes of one job, as `torchrun` does; see `augsuite.engines.together.RunTogether`. None where it cannot.
    """

    name: str
    summary: str
    run: Ref[engines.Engine]
    extra: str = "all"
    cluster: bool = False
    train: Ref[together.RunTogether] | None = None


@dataclass(frozen=True, slots=True)
class TrackerSpec:
    """Where a run's curves go.

    Attributes:
        name: what the user types after `--tracker`.
        summary: one line for the listing.
        open: opens a tracker in a run's folder; see `augsuite.protocols.OpenTracker`.
        extra: the extra of this distribution that it needs.
    """

    name: str
    summary: str
    open: Ref[protocols.OpenTracker]
    extra: str = "all"


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command of `augsuite`.

    Attributes:
        name: what the user types.
        summary: one line for `augsuite --help`, shown without importing the command.
        command: the `click.Command`.
    """

    name: str
    summary: str
    command: Ref[Any]


Spec = (
    FormatSpec
    | DatasetSpec
    | TransformSpec
    | PolicySpec
    | PipelineSpec
    | TrainerSpec
    | EngineSpec
    | TrackerSpec
    | CommandSpec
)


@dataclass(frozen=True, slots=True)
class Owned(Generic[T]):
    """A declaration together with the plugin that made it."""

    spec: T
    plugin: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Something a plugin did wrong; shown by `augsuite plugins`, survived by everything else.

    Attributes:
        plugin: its name.
        stage: what it was doing, such as `import` or `augsuite_formats`.
        message: one line.
        error: the exception behind it, where there was one.
    """

    plugin: str
    stage: str
    message: str
    error: BaseException | None = field(default=None, compare=False)
