"""What makes two jobs ask for the same, and whether what was made once is still right."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.scheduler.wishes import another_run, source_key, still_right, wish_key, wish_of
from shared.contracts.audio import AudioFormat, Precision
from shared.contracts.job import Job
from shared.contracts.live import ModelOffer
from shared.contracts.request import Options, Source
from shared.contracts.subjects import TOKEN
from tests.support import jobs

URL = Source(url="https://example.org/a.mp3")
BYTES = Source(upload="u1", digest="d1", name="a.mp3")


@pytest.mark.parametrize(
    ("source", "same"),
    [
        (URL, True),
        (Source(url="https://example.org/a.mp3?b"), False),
        (Source(upload="https://example.org/a.mp3"), False),
    ],
)
def test_an_address_is_like_itself(source: Source, *, same: bool) -> None:
    assert (source_key(source) == source_key(URL)) is same


@pytest.mark.parametrize(
    ("source", "same"),
    [
        (replace(BYTES, upload="u2"), True),
        (replace(BYTES, name="b.mp3"), False),
        (replace(BYTES, name=None), False),
        (replace(BYTES, digest="d2"), False),
        (replace(BYTES, digest=None), False),
    ],
)
def test_an_upload_is_its_bytes_and_its_name(source: Source, *, same: bool) -> None:
    assert (source_key(source) == source_key(BYTES)) is same


def test_an_upload_that_nobody_has_counted_is_only_like_itself() -> None:
    one, other = Source(upload="u1"), Source(upload="u2")
    assert source_key(one) == source_key(Source(upload="u1"))
    assert source_key(one) != source_key(other)


@pytest.mark.parametrize(
    ("options", "same"),
    [
        (Options(), True),
        (Options(reuse=False), True),
        (Options(model="dsp"), False),
        (Options(stems=("vocals",)), False),
        (Options(format=AudioFormat.WAV16), False),
        (Options(precision=Precision.EXACT), False),
        (Options(shifts=1), False),
    ],
)
def test_a_wish_is_the_song_and_what_shall_be_made_of_it(options: Options, *, same: bool) -> None:
    assert (wish_key(URL, options) == wish_key(URL, Options())) is same
    assert wish_key(URL, options) != wish_key(BYTES, options)


def test_who_asks_and_when_is_no_part_of_a_wish() -> None:
    assert wish_of(jobs.pending()) == wish_of(jobs.completed())
    assert wish_of(jobs.pending()) == wish_of(jobs.live(None, jobs.submit(owner="b")))


def offer(
    name: str, *, ready: bool = True, digest: str = "d1", stems: str = "vocals"
) -> ModelOffer:
    return ModelOffer(name=name, sources=tuple(stems.split()), ready=ready, digest=digest)


def made(model: str, asked: str, stems: tuple[str, ...] = ()) -> Job:
    job = jobs.completed()
    assert job.plan is not None
    options = Options(model=asked, stems=stems)
    return replace(job, options=options, plan=replace(job.plan, model=model, digest="d1"))


def with_result(job: Job, name: str) -> Job:
    assert job.result is not None
    return replace(job, result=replace(job.result, id=name))


@pytest.mark.parametrize(
    ("job", "offers", "right"),
    [
        # A model that was named is right if somebody says that it is still the same.
        (made("htdemucs", "htdemucs"), [], True),
        (made("htdemucs", "htdemucs"), [offer("htdemucs", digest="")], False),
        (made("htdemucs", "htdemucs"), [offer("htdemucs", digest="", ready=False)], True),
        (made("htdemucs", "htdemucs"), [offer("htdemucs", digest=""), offer("htdemucs")], True),
        (
            made("htdemucs", "htdemucs"),
            [offer("htdemucs", digest=""), offer("htdemucs", digest="d2")],
            False,
        ),
        (made("htdemucs", "htdemucs"), [offer("htdemucs", digest="d1")], True),
        (made("htdemucs", "htdemucs"), [offer("htdemucs", digest="d2")], False),
        (
            made("htdemucs", "htdemucs"),
            [offer("htdemucs", digest="d2"), offer("htdemucs", digest="d1")],
            True,
        ),
        (made("dsp", "dsp"), [offer("htdemucs")], True),
        # What was chosen is right unless something better could be chosen now.
        (made("dsp", "auto"), [], True),
        (made("dsp", "auto"), [offer("dsp"), offer("mdx")], True),
        (made("dsp", "auto"), [offer("dsp"), offer("htdemucs")], False),
        (made("dsp", "auto"), [offer("htdemucs", ready=False)], True),
        (made("dsp", "auto", ("instrumental",)), [offer("htdemucs")], False),
        (made("dsp", "auto", ("vocals",)), [offer("htdemucs", stems="drums")], True),
        (made("htdemucs_6s", "auto", ("guitar",)), [offer("htdemucs")], True),
        (made("htdemucs", "auto"), [offer("htdemucs_6s"), offer("dsp")], True),
        (made("htdemucs", "auto"), [offer("htdemucs", digest="d2")], False),
        (made("own", "auto"), [offer("htdemucs")], True),
        (replace(made("dsp", "dsp"), result=None), [], False),
        (replace(made("dsp", "dsp"), track=None), [], False),
        # What the same parameters come to has another name since, or was named otherwise.
        (with_result(made("dsp", "dsp"), "another"), [], False),
    ],
)
def test_what_was_made_is_right_if_it_would_be_made_so_again(
    job: Job, offers: list[ModelOffer], *, right: bool
) -> None:
    by_name: dict[str, list[ModelOffer]] = {}
    for one in offers:
        by_name.setdefault(one.name, []).append(one)
    assert still_right(job, by_name) is right


def test_each_run_is_used_once() -> None:
    runs = ["j1"]
    for _ in range(3):
        runs.append(another_run("j1", runs[-1]))
    assert len({*runs, another_run("j2", "j1")}) == 5
    assert all(TOKEN.match(run) for run in runs)
