"""What a separator decides before it computes: stems, passes, chunks.  Pure."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from shared.contracts.audio import INSTRUMENTAL, SAMPLE_RATE, VOCALS, Pass
from shared.errors import Code, TerminalError
from shared.separation.windows import source_of, stride_frames

#: Longest chunk in seconds, whatever the window's length: bounds a worker's memory (a model
#: with 44 s windows gets fewer of them in a chunk).
CHUNK_SECONDS: Final = 120.0
#: Longest shift in frames: half a second, as in apply_model.
MAX_SHIFT: Final = SAMPLE_RATE // 2
#: Shifts are drawn anew from this for every song: the same request gives the same stems.
SHIFT_SEED: Final = 0


def offered_stems(sources: tuple[str, ...]) -> tuple[str, ...]:
    """The stems that a model with these sources can deliver."""
    if VOCALS in sources and INSTRUMENTAL not in sources:
        return (*sources, INSTRUMENTAL)
    return sources


class Stems(NamedTuple):
    """What a job delivers, and which of the model's sources must be computed for it."""

    stems: tuple[str, ...]
    computed: tuple[str, ...]


def resolve_stems(wanted: tuple[str, ...], sources: tuple[str, ...], model: str) -> Stems:
    """What ``wanted`` means for a model; none means all that it offers.

    Where there are vocals, ``instrumental`` is always mix - vocals and never computed, so that
    the two add up to the original.  ``model.no_such_stem`` if the model lacks one of them.
    """
    offered = offered_stems(sources)
    stems = tuple(dict.fromkeys(wanted)) or offered
    if unknown := [stem for stem in stems if stem not in offered]:
        detail = f"{model} has no {', '.join(unknown)}; it makes {', '.join(offered)}"
        raise TerminalError(Code.MODEL_NO_SUCH_STEM, detail)
    needed = {source_of(stem, sources) for stem in stems}
    return Stems(stems, tuple(source for source in sources if source in needed))


def passes_of(
    segments: tuple[int, ...], needed: tuple[int, ...], shifts: int, seed: int = SHIFT_SEED
) -> tuple[Pass, ...]:
    """The passes of a bag over a track.

    ``segments`` are the window lengths in frames of all networks of the bag, ``needed`` the
    places of those that must run.  Without shifts, networks with windows alike share a pass.
    With them every network has its own, drawn in the order in which apply_model asks for them:
    a network that is left out draws, too, so the others' don't depend on which stems are wanted.
    """
    if not shifts:
        alike: dict[int, list[int]] = {}
        for member in needed:
            alike.setdefault(segments[member], []).append(member)
        return tuple(
            Pass(members=tuple(members), segment=segment, stride=stride_frames(segment))
            for segment, members in alike.items()
        )
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    drawn = [[chance.randint(0, MAX_SHIFT) for _ in range(shifts)] for _ in segments]
    return tuple(
        Pass(
            members=(member,),
            segment=segments[member],
            stride=stride_frames(segments[member]),
            start=offset - MAX_SHIFT,
        )
        for member in needed
        for offset in drawn[member]
    )


def chunk_frames(passes: tuple[Pass, ...], most: int) -> int:
    """The distance between chunks: ``most`` windows, fewer where that is over CHUNK_SECONDS.

    Each shift costs as much again, so a chunk of a song that is shifted is shorter.
    """
    stride = max(one.stride for one in passes)
    fitting = min(most, int(CHUNK_SECONDS * SAMPLE_RATE / stride))
    runs = len({one.start for one in passes})
    return stride * max(1, fitting // max(1, runs))
