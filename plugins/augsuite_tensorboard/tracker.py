"""Event files that TensorBoard shows; written by its own package, so PyTorch is not imported for them."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import PIL.Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from augsuite.dataset.images import Image


class TensorBoardTracker:
    """Writes event files into a run's folder: scalars, pictures, and the settings for the tab of hyperparameters."""

    def __init__(self, folder: Path) -> None:
        """Start anew: event files that an earlier attempt left in the folder are deleted."""
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()
        self._writer = EventFileWriter(str(folder))
        self._open = False

    def start(self, run: Mapping[str, Any]) -> None:
        """Write what was asked for as hyperparameters."""
        self._add(0, summary_v2.hparams_pb(dict(flat(run))))
        self._open = True

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars; they are on disk when this returns."""
        self._add(step, Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()]))

    def image(self, name: str, image: Image, step: int) -> None:
        """Write a picture."""
        height, width = image.shape[:2]
        encoded = io.BytesIO()
        PIL.Image.fromarray(image).save(encoded, "PNG")
        picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded.getvalue())
        self._add(step, Summary(value=[Summary.Value(tag=name, image=picture)]))

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Say that the run succeeded; its metrics are the last values of its curves."""
        del metrics
        self._end(api_pb2.STATUS_SUCCESS)

    def close(self) -> None:
        """Close the file."""
        if self._open:
            self._end(api_pb2.STATUS_FAILURE)
        self._writer.close()

    def _end(self, status: int) -> None:
        ended = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
        content = plugin_data_pb2.HParamsPluginData(session_end_info=ended)
        value = Summary.Value(
            tag=metadata.SESSION_END_INFO_TAG,
            metadata=metadata.create_summary_metadata(content),
            tensor=metadata.NULL_TENSOR,
        )
        self._add(0, Summary(value=[value]))
        self._open = False

    def _add(self, step: int, summary: Summary) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | float | bool]]:
    """Nested settings as `config.lr`: numbers, truth values and texts; anything else as JSON."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            yield prefix + name, value
        else:
            yield prefix + name, json.dumps(value)


def open_tensorboard(folder: Path) -> TensorBoardTracker:
    """Open event files in a run's folder; see `augsuite.protocols.OpenTracker`."""
    return TensorBoardTracker(folder)
