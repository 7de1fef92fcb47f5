"""Keep the packages under this library from reporting to their makers: it runs before them all.

`vec2slug_lib` imports it before anything else of its own, in every process that makes slugs: the
command, notebooks, spawned workers, Ray's workers, ranks of a cluster. What each package would send
is in the book, on the page *What leaves the machine*.
"""

import os
import sys

# Set whatever the environment says: whoever runs this has chosen a library that reports nothing.
SETTINGS = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: events, and an id in the cache folder
    "RAY_USAGE_STATS_ENABLED": "0",  # read by a cluster that is started here
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


def switch_off() -> None:
    """Set what the packages read at their import, and tell those that were imported before us."""
    os.environ.update(SETTINGS)
    if onnxruntime := sys.modules.get("onnxruntime"):
        onnxruntime.disable_telemetry_events()
    if constants := sys.modules.get("huggingface_hub.constants"):
        constants.HF_HUB_DISABLE_TELEMETRY = True  # type: ignore[attr-defined]
