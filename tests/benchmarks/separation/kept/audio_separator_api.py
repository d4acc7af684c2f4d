"""``audio_separator.Separator``, made once: run with the models, the model's name, the output.

It runs in the rivals' environment: nothing of ours is imported.  By its design it reads the
model's file anew for each song.
"""

from __future__ import annotations

import json
import logging
import sys

from audio_separator.separator import Separator

STEMS = ("Vocals", "Drums", "Bass", "Other")


def serve(models: str, model: str, out: str) -> None:
    """Separate each song that is named; its stems begin with the name that it is given."""
    separator = Separator(
        log_level=logging.WARNING,
        model_file_dir=models,
        output_dir=out,
        output_format="WAV",
        normalization_threshold=1.0,
        demucs_params={
            "segment_size": "Default",
            "shifts": 0,
            "overlap": 0.25,
            "segments_enabled": True,
        },
    )
    separator.load_model(f"{model}.yaml")
    _say_ready()
    for line in sys.stdin:
        words = json.loads(line)
        names = {stem: f"{words['name']}-{stem.lower()}" for stem in STEMS}
        if not separator.separate(words["song"], custom_output_names=names):
            sys.exit("it made nothing")
        _say_ready()


def _say_ready() -> None:
    print("READY", flush=True)  # noqa: T201 - its protocol


if __name__ == "__main__":
    serve(*sys.argv[1:])
