"""augsuite in the FiftyOne App: what FiftyOne loads. `augsuite fiftyone install` copies this file and `fiftyone.yml`, nothing else."""

from typing import Any


def register(plugin: Any) -> None:
    """Register the operators, and whatever else this plugin brings; FiftyOne calls it."""
    from augsuite_fiftyone.app_plugin.registered import registered

    for kind in registered():
        plugin.register(kind)
