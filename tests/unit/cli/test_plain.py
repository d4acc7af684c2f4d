"""What comes from outside does nothing to a terminal."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from rich.console import Console

from services.cli.answers import Gone, Place, SitePause, Stats, WorkerFigures
from services.cli.plain import file_name, json_line, plain
from services.cli.show.batches import batch_details, skipped_text
from services.cli.show.jobs import job_details, job_table
from services.cli.show.live import event_line, progress_of
from services.cli.show.stats import stats_text
from shared.contracts.audio import Metadata
from shared.contracts.batch import Skipped
from shared.contracts.job import Moment, Phase, Status
from shared.contracts.live import Activity, Progress
from shared.contracts.problem import Problem
from shared.contracts.request import Source
from shared.errors import Code
from tests.support.jobs import NOW
from tests.unit.cli.played import batch, job

if TYPE_CHECKING:
    from rich.console import RenderableType

    from services.cli.events import Event

#: Sets a colour twice over, rings, moves, turns the writing round, breaks the line, is markup.
EVIL = "a\x1b[31mb\x9b5md\x07\x08e\u202ef\u2066g\r\nh\u2028i\x7fj[red]k\ud800"
PROBLEM = Problem(code=Code.INTERNAL, title=EVIL, detail=EVIL, hint=EVIL)
JOB = job(
    EVIL,
    Status.FAILED,
    source=Source(url=EVIL),
    metadata=Metadata(title=EVIL, artist=EVIL, page=EVIL),
    owner=EVIL,
    batch=EVIL,
    original=EVIL,
    error=PROBLEM,
    waits_for=PROBLEM,
    timeline=(Moment(at=NOW, status=Status.PENDING, note=EVIL),),
)
SKIPPED = Skipped(entry=EVIL, problem=PROBLEM)
BATCH = batch(EVIL, title=EVIL, skipped=(SKIPPED,), error=PROBLEM, state=EVIL)
PROGRESS = Progress(
    job_id=EVIL, phase=Phase.DOWNLOAD, progress=1.0, activity=Activity.FETCHING, note=EVIL
)
STATS = Stats(
    jobs={EVIL: 1},
    failures={EVIL: 1},
    workers=[WorkerFigures(worker=EVIL, stage=EVIL, device=EVIL, speeds={EVIL: 1.0}, ailment=EVIL)],
    pauses=[SitePause(site=EVIL, until=NOW + timedelta(days=1), code=EVIL)],
)
EVENTS: dict[str, Event] = {
    "job": JOB,
    "progress": PROGRESS,
    "queue": Place(id=EVIL, waits_for=PROBLEM),
    "gone": Gone(EVIL),
    "batch": BATCH,
}
SHOWN: dict[str, RenderableType] = {
    "table": job_table([JOB]),
    "details": job_details(JOB),
    "batch": batch_details(BATCH),
    "skipped": skipped_text(SKIPPED),
    "stats": stats_text(STATS),
    **{f"event {name}": event_line(event) or "" for name, event in EVENTS.items()},
}


def obeyed(text: str) -> set[str]:
    """The signs in ``text`` that a terminal would obey, or could not print."""
    return {
        sign for sign in text if sign != "\n" and unicodedata.category(sign) in {"Cc", "Cf", "Cs"}
    }


@pytest.mark.parametrize("what", SHOWN)
def test_nothing_that_is_shown_can_be_obeyed(what: str) -> None:
    console = Console(width=400, highlight=False)
    with console.capture() as shown:
        console.print(SHOWN[what])
    assert obeyed(shown.get()) == set()
    assert "[red]k" in shown.get()


@pytest.mark.parametrize("what", EVENTS)
def test_nor_what_moves(what: str) -> None:
    console = Console(width=400, highlight=False, force_terminal=True, no_color=True)
    with console.capture() as shown, progress_of(console) as line:
        line.show(EVENTS[what])
    own = {"\x1b", "\r"}
    assert obeyed(shown.get()) <= own
    assert "\x1b[31mb" not in shown.get()


def test_a_text_stays_readable() -> None:
    assert plain("Łódź, 東京\tnow") == "Łódź, 東京 now"


def test_json_says_the_same_and_is_harmless() -> None:
    place = Place(id=EVIL.replace("\ud800", "\U000e0001"))
    line = json_line(place)
    assert obeyed(line) == set()
    assert msgspec.json.decode(line, type=Place) == place


NAMES = {
    "../../etc/passwd": "_.._etc_passwd",
    "AC/DC: Live?": "AC_DC_ Live_",
    "..": "_",
    "": "_",
    "a\x00b\nc": "ab c",
    "東" * 100: "東" * 40,
}


@pytest.mark.parametrize("text", NAMES)
def test_a_title_becomes_the_name_of_one_folder(text: str) -> None:
    assert file_name(text) == NAMES[text]
