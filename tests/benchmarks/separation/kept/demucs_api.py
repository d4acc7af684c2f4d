"""``demucs.api.Separator``, loaded once.  Run as ``demucs_api.py <models> <model> <device>``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from demucs.api import Separator, save_audio


def serve(models: str, model: str, device: str) -> None:
    """Separate each song that is named, into the folder that is named with it."""
    separator = Separator(model=model, repo=Path(models), device=device, shifts=0)
    _say_ready()
    for line in sys.stdin:
        words = json.loads(line)
        folder = Path(words["out"])
        folder.mkdir(parents=True, exist_ok=True)
        _, stems = separator.separate_audio_file(Path(words["song"]))
        for name, wav in stems.items():
            path = folder / f"{name}.wav"
            save_audio(
                wav, path, separator.samplerate, clip="none", bits_per_sample=32, as_float=True
            )
        _say_ready()


def _say_ready() -> None:
    print("READY", flush=True)  # noqa: T201 - its protocol


if __name__ == "__main__":
    serve(*sys.argv[1:])
