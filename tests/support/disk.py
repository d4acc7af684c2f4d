"""A disk of one's own that is soon full."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a filesystem of ``size`` bytes at ``folder``; where nobody may, it stays a folder."""
    folder.mkdir(parents=True)
    mount, umount = shutil.which("mount"), shutil.which("umount")
    words = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = mount is not None and (
        subprocess.run([mount, *words], check=False, capture_output=True).returncode == 0
    )
    try:
        yield
    finally:
        if mounted and umount is not None:
            subprocess.run([umount, "--lazy", str(folder)], check=True)
