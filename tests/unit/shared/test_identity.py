"""A result's name: the same for whatever gives the same files, another for all else."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from msgspec.structs import replace

from shared.contracts.audio import (
    AudioFormat,
    Cover,
    Metadata,
    Pass,
    Picture,
    Plan,
    Precision,
    Track,
)
from shared.separation.identity import picture_id, result_id

FOUR = ("drums", "bass", "other", "vocals")
PASS = Pass(members=(0, 1), segment=100, stride=75)


class Asked(NamedTuple):
    track: Track = Track(id="t", frames=1000, mean=0.0, std=1.0)
    plan: Plan = Plan(
        model="m",
        digest="d",
        sources=FOUR,
        computed=FOUR,
        stems=FOUR,
        frames=1000,
        passes=(PASS,),
        chunk_frames=225,
    )
    audio_format: AudioFormat = AudioFormat.FLAC
    metadata: Metadata = Metadata()

    @property
    def id(self) -> str:
        return result_id(self.track, self.plan, self.audio_format, self.metadata)


ASKED = Asked()


def planned(**changes: object) -> Asked:
    return ASKED._replace(plan=replace(ASKED.plan, **changes))


def grid(*passes: Pass) -> Asked:
    return planned(passes=passes)


def tagged(title: str | None = None, artist: str | None = None) -> Asked:
    return ASKED._replace(metadata=Metadata(title=title, artist=artist))


def pictured(picture: str, audio_format: AudioFormat = AudioFormat.FLAC) -> Asked:
    cover = Cover(track="t", id=picture, picture=Picture.PNG, bytes=1, width=1, height=1)
    return ASKED._replace(audio_format=audio_format, metadata=Metadata(cover=cover))


DIFFERENT = {
    "the plain one": ASKED,
    "another track": ASKED._replace(track=replace(ASKED.track, id="u")),
    "other weights": planned(digest="e"),
    "half the bits": planned(precision=Precision.FAST),
    "fewer stems": planned(stems=("drums", "bass")),
    "one stem": planned(stems=("drums",)),
    "the members apart": grid(replace(PASS, members=(0,)), replace(PASS, members=(1,))),
    "one of the members": grid(replace(PASS, members=(0,))),
    "the other member": grid(replace(PASS, members=(1,))),
    "the eleventh member": grid(replace(PASS, members=(11,))),
    "a shift": grid(replace(PASS, start=-7)),
    "another shift": grid(replace(PASS, start=-8)),
    "two shifts": grid(replace(PASS, start=-7), replace(PASS, start=-8)),
    "longer windows": grid(replace(PASS, segment=104, stride=78)),
    "a title": tagged("a"),
    "an artist": tagged(None, "a"),
    "a title and an artist": tagged("a", "b"),
    "a title that says there is none": tagged("None"),
    "an empty title": tagged(""),
    "a title of two lines": tagged("a\nb", "c"),
    "an artist of two lines": tagged("a", "b\nc"),
    "a picture": pictured("a"),
    "another picture": pictured("b"),
} | {
    f"as {one}": ASKED._replace(audio_format=one)
    for one in AudioFormat
    if one is not ASKED.audio_format
}


def test_a_results_id_tells_everything_apart_that_changes_its_files() -> None:
    names: dict[str, str] = {}
    for what, asked in DIFFERENT.items():
        assert asked.id not in names, f"{what} is taken for {names[asked.id]}"
        names[asked.id] = what


@pytest.mark.parametrize(
    "same",
    [
        planned(chunk_frames=75),
        planned(chunk_frames=1000),
        planned(model="the same weights under another name"),
        ASKED._replace(track=replace(ASKED.track, original="mp3, 48000 Hz, 2 ch")),
        ASKED._replace(track=replace(ASKED.track, stored_bytes=8000)),
        ASKED._replace(metadata=Metadata(page="https://example.com", duration=1.0)),
    ],
)
def test_what_changes_no_file_changes_no_id(same: Asked) -> None:
    assert ASKED.id == same.id


def test_a_picture_changes_no_file_that_can_t_hold_it() -> None:
    for audio_format in AudioFormat:
        ids = {pictured(picture, audio_format).id for picture in "ab"}
        assert len(ids) == (1 if audio_format.extension == "wav" else 2), audio_format


def test_a_picture_is_called_by_its_bytes() -> None:
    assert picture_id(b"a") == picture_id(b"a") != picture_id(b"b")
    assert len(picture_id(b"")) == 32


def test_an_id_can_be_part_of_a_key() -> None:
    assert len(ASKED.id) == 32
    assert set(ASKED.id) <= set("0123456789abcdef")
