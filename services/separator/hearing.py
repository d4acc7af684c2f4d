"""Whether chunks were computed from the track as it is: compared while that is read in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contracts.audio import FRAME_BYTES
from shared.separation.identity import heard_hash
from shared.separation.windows import Span

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable

    from shared.separation.spans import Heard


class Hearing:
    """Hashes what each chunk says that it has heard; a few chunks at a time."""

    def __init__(self, read: Callable[[Span], bytes]) -> None:
        self._read = read
        self._open: dict[int, tuple[Heard, hashlib.blake2b]] = {}
        self._mistaken: list[int] = []

    def expect(self, chunk: int, heard: Heard, at: int) -> None:
        """A chunk has come near, and the track was read up to frame ``at``."""
        digest = heard_hash()
        missed = heard.span.common(Span(0, at))
        if missed.frames:
            digest.update(self._read(missed))
        self._open[chunk] = heard, digest

    def hear(self, span: Span, data: bytes) -> None:
        """The next frames of the track, (frames, channels) float32."""
        for chunk, (heard, digest) in tuple(self._open.items()):
            part = heard.span.common(span)
            first, last = part.start - span.start, part.end - span.start
            digest.update(memoryview(data)[first * FRAME_BYTES : last * FRAME_BYTES])
            if heard.span.end <= span.end:
                del self._open[chunk]
                if digest.hexdigest() != heard.hash:
                    self._mistaken.append(chunk)

    def mistaken(self) -> tuple[int, ...]:
        """The chunks that have heard something else, once the track has been read."""
        return tuple(sorted((*self._mistaken, *self._open)))
