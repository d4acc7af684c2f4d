"""Running a chunk's windows through a model: normalize, pad, batch, weigh, add.

The same numbers as ``demucs.apply.apply_model(shifts=0)``, which runs one window at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from services.separator.core import (
    Span,
    input_span,
    normalization,
    output_span,
    read_span,
    triangle,
    window_span,
    windows_of,
)
from services.separator.devices import CPU, out_of_memory, placed
from shared.contracts.audio import CHANNELS, FRAME_BYTES, Plan, Track
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from services.separator.models import LoadedModel, Member

    #: Reads frames of the track: interleaved float32.
    ReadFrames = Callable[[int, int], bytes]


class Batch(NamedTuple):
    """Consecutive windows that want the same input length."""

    windows: tuple[int, ...]
    valid_frames: int


class ChunkRun:
    """One chunk's way through a model.

    ``batch_windows`` is halved for good when the device runs out of memory.  Where not even one
    window fits, somebody else is using the device: the rest of this chunk runs on the CPU, which
    is slow and gives the same numbers.  The next chunk tries the device again.
    """

    def __init__(
        self, *, model: LoadedModel, plan: Plan, track: Track, device: torch.device, batch: int
    ) -> None:
        self._model = model
        self._plan = plan
        self._track = track
        #: Where it runs: the CPU, once the device had no room.
        self.device = device
        self.batch_windows = max(1, batch)
        self._members = model.members_for(plan.computed)
        self._indices = [model.sources.index(source) for source in plan.computed]
        self._weight = torch.from_numpy(triangle(plan.segment))

    def weighted_sums(
        self, chunk: int, read: ReadFrames, progress: Callable[[float], None]
    ) -> NDArray[np.float32]:
        """The chunk's sums over its output span, shape (computed sources, frames, channels).

        ``progress`` gets the share that is done after each batch of each member.
        """
        whole = output_span(self._plan, chunk)
        sums = torch.zeros(len(self._indices), CHANNELS, whole.frames)
        windows = windows_of(self._plan, chunk)
        done = 0
        for member in self._members:
            self._place(member)
            audio, audio_span = self._normalized(member, chunk, read)
            waiting = list(windows)
            while waiting:
                batch = self._next_batch(member, waiting)
                inputs = torch.stack(
                    [
                        self._input(audio, audio_span, one, batch.valid_frames)
                        for one in batch.windows
                    ]
                )
                outputs = self._run(member, inputs)
                if outputs is None:
                    continue  # with a smaller batch
                for window, output in zip(batch.windows, outputs, strict=True):
                    self._add(sums, whole.start, member, window, output)
                del waiting[: len(batch.windows)]
                done += len(batch.windows)
                progress(done / (len(windows) * len(self._members)))
        if not bool(torch.isfinite(sums).all()):
            raise TerminalError(
                Code.INTERNAL, f"{self._plan.model} gave numbers that are not audio"
            )
        return np.ascontiguousarray(sums.transpose(1, 2).numpy())

    def _normalized(self, member: Member, chunk: int, read: ReadFrames) -> tuple[Tensor, Span]:
        """The audio that the chunk's windows need, (channels, frames), and where it lies."""
        span = read_span(self._plan, chunk, member.valid_length)
        data = read(span.start, span.end)
        if len(data) != span.frames * FRAME_BYTES:
            raise TerminalError(
                Code.BLOB_CORRUPT, f"track {self._track.id} is shorter than it says"
            )
        frames = np.frombuffer(data, dtype="<f4").reshape(-1, CHANNELS)
        mean, scale = (np.float32(number) for number in normalization(self._track))
        return torch.from_numpy(np.ascontiguousarray(((frames - mean) / scale).T)), span

    def _next_batch(self, member: Member, waiting: list[int]) -> Batch:
        lengths = [
            member.valid_length(window_span(self._plan, window).frames)
            for window in waiting[: self.batch_windows]
        ]
        same = next((i for i, one in enumerate(lengths) if one != lengths[0]), len(lengths))
        return Batch(tuple(waiting[:same]), lengths[0])

    def _input(self, audio: Tensor, audio_span: Span, window: int, valid_frames: int) -> Tensor:
        """What the model gets: the real audio around the window, zeros outside the track."""
        wanted = input_span(self._plan, window, valid_frames)
        start, end = max(0, wanted.start), min(self._plan.frames, wanted.end)
        piece = audio[:, start - audio_span.start : end - audio_span.start]
        return functional.pad(piece, (start - wanted.start, wanted.end - end))

    def _run(self, member: Member, inputs: Tensor) -> Tensor | None:
        """(windows, sources, channels, frames) on the CPU; None if the batch was too large."""
        try:
            with torch.inference_mode():
                outputs: Tensor = member.module(inputs.to(self.device))
                return outputs[:, self._indices].float().cpu()
        except RuntimeError as exc:
            if not out_of_memory(exc):
                raise
            if len(inputs) == 1 and self.device == CPU:
                detail = f"one window of {self._plan.model} does not fit on {self.device}"
                raise RetryableError(Code.WORKER_OUT_OF_MEMORY, detail) from exc
        # Not in the handler: there the traceback still holds what has to be let go of.
        if len(inputs) == 1:
            self._leave(member)
        else:
            self.batch_windows = max(1, len(inputs) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _place(self, member: Member) -> None:
        """Bring a member to the device, or back to it after another chunk had to leave."""
        if not placed(member.module, self.device):
            self._leave(member)

    def _leave(self, member: Member) -> None:
        """Go on without the device; what lies there makes room for whoever uses it."""
        print(f"no room on {self.device}: the chunk goes on on the CPU", flush=True)  # noqa: T201 - a child's log is its output
        self.device = CPU
        member.module.to(CPU)

    def _add(self, sums: Tensor, start: int, member: Member, window: int, output: Tensor) -> None:
        """Weigh a window's output (sources, channels, valid frames) and add it where it belongs."""
        span = window_span(self._plan, window)
        # As demucs.utils.center_trim: an odd surplus loses the larger half on the right.
        left = (output.shape[-1] - span.frames) // 2
        output = output[..., left : left + span.frames]
        shares = torch.tensor([member.shares[index] for index in self._indices])
        weighted = output * shares[:, None, None] * self._weight[: span.frames]
        sums[..., span.start - start : span.end - start] += weighted
