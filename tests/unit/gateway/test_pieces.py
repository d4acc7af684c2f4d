"""Pieces of songs that are not done yet, on a real server with real chunks: exact or not at all."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import tracemalloc
import wave
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace

from services.gateway import guard, problems
from services.gateway.pieces import Pieces, Playlist, playlist_of
from services.gateway.wav import wav_bytes, wav_samples
from services.separator.gather import Gathering
from shared.blobs import BlobStore, BlockingBlobs, open_store
from shared.contracts.audio import SAMPLE_RATE
from shared.contracts.codec import UndecodableError
from shared.contracts.job import Job, Phase, Status
from shared.contracts.request import Options, Source
from shared.contracts.snapshot import Snapshot, snapshot
from shared.errors import Code, TerminalError
from shared.jetstream.store import Stored
from shared.separation.spans import BLOCK_FRAMES, MAGIC, PREFIX_BYTES
from shared.separation.windows import piece_span
from tests.support.pieces import JOB, NOW, ONE_PASS, TWO_PASSES, Made, made_job, plan_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aiohttp.typedefs import Handler
    from numpy.typing import NDArray
    from structlog.typing import FilteringBoundLogger

    from shared.blobs import BlobInfo
    from shared.contracts.audio import Pass

#: Some blocks and some pieces, and borders that don't fall together.
FRAMES = 400_001
#: A piece of half a minute: more than any socket holds.
LONG = 30 * SAMPLE_RATE
#: The error of rounding to 16 bits, and a little for float32.
ROUNDING = 0.5001 / 32_768


class Blobs:
    """The blob store, with something that happens before each read."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self.before: Callable[[], Awaitable[None]] | None = None
        self.reads = 0

    async def info(self, key: str) -> BlobInfo | None:
        return await self._store.info(key)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        self.reads += 1
        if self.before is not None:
            await self.before()
        return await self._store.get_range(key, start, end)


class Records:
    """The bucket with one job in it."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.fault: Exception | None = None

    async def load(self, job_id: str) -> Stored | None:
        if self.fault is not None:
            raise self.fault
        return Stored(job_id, 7, self.job) if job_id == JOB else None

    def snapshot(self, job_id: str) -> Snapshot:
        if job_id != JOB or self.job is None:
            raise TerminalError(Code.JOB_NOT_FOUND, job_id)
        return snapshot(self.job)


class Answered(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> tuple[int, str, bool]:
        """The status, and of a failure the code and whether it may pass."""
        said = json.loads(self.body)
        return self.status, said["code"], said["retryable"]


class House:
    """A server with one job, whose chunks lie in a real blob store."""

    def __init__(self, folder: Path, session: ClientSession) -> None:
        store = open_store(f"file://{folder}")
        self.folder = folder
        self.blocking = BlockingBlobs(store)
        self.blobs = Blobs(BlobStore(store))
        self.records = Records()
        self.session = session
        #: How each request ended, once it has.
        self.endings: asyncio.Queue[BaseException | None] = asyncio.Queue()
        self.pieces = Pieces(
            jobs=self.records,
            records=self.records,
            blobs=self.blobs,
            max_at_once=2,
            stall_seconds=30.0,
        )
        self.base = ""

    def move_in(self, plan: Any, **more: Any) -> Made:  # noqa: ANN401 - as made_job takes it
        made = made_job(self.blocking, plan, **more)
        self.records.job = made.job
        return made

    async def ask(self, path: str, method: str = "GET") -> Answered:
        async with self.session.request(method, f"{self.base}/v1/jobs/{path}") as answer:
            return Answered(answer.status, dict(answer.headers), await answer.read())

    async def piece(self, number: int, stem: str) -> NDArray[np.int16]:
        """The samples of a piece that must be there."""
        answer = await self.ask(f"{JOB}/pieces/{number}/{stem}.wav")
        assert answer.status == 200, answer.body
        with wave.open(io.BytesIO(answer.body)) as file:
            assert file.getparams()[:3] == (2, 2, SAMPLE_RATE)
            frames = file.readframes(file.getnframes())
        assert len(answer.body) == wav_bytes(len(frames) // 4)
        return np.frombuffer(frames, "<i2").reshape(-1, 2)

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            answer = await handler(request)
        except BaseException as exc:
            self.endings.put_nowait(exc)
            raise
        self.endings.put_nowait(None)
        return answer


@pytest.fixture
async def house(tmp_path: Path, log: FilteringBoundLogger) -> AsyncIterator[House]:
    async with ClientSession() as session:
        house = House(tmp_path, session)
        middlewares = [problems.middleware(log), house.watch, guard.middleware(("127.0.0.1",))]
        app = web.Application(middlewares=middlewares)
        app.on_response_prepare.append(guard.add_headers)
        app.add_routes(house.pieces.routes())
        async with TestServer(app) as server:
            house.base = f"http://{server.host}:{server.port}"
            yield house


@pytest.mark.parametrize("passes", [ONE_PASS, TWO_PASSES])
@pytest.mark.parametrize("frames", [FRAMES, 90_000, 45_001, 1])
async def test_all_pieces_of_a_stem_joined_are_the_stem(
    house: House, frames: int, passes: tuple[Pass, ...]
) -> None:
    made = house.move_in(plan_of(frames, passes), run="another")
    for stem, whole in made.stems.items():
        pieces = [await house.piece(number, stem) for number in range(made.plan.chunks)]
        spans = [piece_span(made.plan, number) for number in range(made.plan.chunks)]
        assert [span.frames for span in spans] == [len(piece) for piece in pieces]
        heard = np.concatenate(pieces) / 32_768
        np.testing.assert_allclose(heard, np.clip(whole, -1, 32_767 / 32_768), atol=ROUNDING)


async def test_a_piece_is_what_finalization_makes_of_the_same_chunks_bit_by_bit(
    house: House,
) -> None:
    made = house.move_in(plan_of(FRAMES, TWO_PASSES))
    gathering = Gathering(
        blobs=house.blocking,
        track=made.track,
        plan=made.plan,
        chunk_keys=tuple(made.key(chunk) for chunk in range(made.plan.chunks)),
    )
    blocks = list(gathering.blocks())
    for stem in made.plan.stems:
        pieces = [await house.piece(number, stem) for number in range(made.plan.chunks)]
        finished = b"".join(wav_samples(block.stems[stem]) for block in blocks)
        assert finished == np.concatenate(pieces).tobytes()


async def test_a_piece_is_there_as_soon_as_its_chunk_and_all_before_it_are_done(
    house: House,
) -> None:
    made = house.move_in(plan_of(FRAMES))
    for later in range(2, made.plan.chunks):
        (house.folder / made.key(later)).unlink()
    house.records.job = made.until(2)
    heard = await house.piece(1, "vocals") / 32_768
    np.testing.assert_allclose(heard, made.stems["vocals"][90_000:180_000], atol=ROUNDING)
    early = await house.ask(f"{JOB}/pieces/2/vocals.wav")
    assert early.told == (404, "piece.not_ready", True)


async def test_a_chunk_that_is_done_before_its_turn_makes_no_piece(house: House) -> None:
    made = house.move_in(plan_of(FRAMES))
    units = {name: unit for name, unit in made.job.units.items() if name != "1"}
    house.records.job = replace(made.job, units=units)
    told = [(await house.ask(f"{JOB}/pieces/{n}/vocals.wav")).status for n in range(4)]
    assert told == [200, 404, 404, 404]
    separation = snapshot(house.records.job).separation
    assert separation
    assert (separation.pieces_ready, separation.chunks_done) == (1, made.plan.chunks - 1)
    assert separation.piece_seconds == 90_000 / SAMPLE_RATE


@pytest.mark.parametrize("phase", [Phase.SEPARATION, Phase.FINALIZATION])
async def test_pieces_can_be_heard_until_the_job_has_ended(house: House, phase: Phase) -> None:
    made = house.move_in(plan_of(FRAMES))
    house.records.job = made.until(3, phase=phase)
    assert len(await house.piece(0, "drums")) == 90_000


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": Status.COMPLETED}, (404, "piece.not_ready", False)),
        ({"status": Status.FAILED}, (404, "piece.not_ready", False)),
        ({"status": Status.CANCELLED}, (404, "piece.not_ready", False)),
        ({"status": Status.PENDING}, (404, "piece.not_ready", True)),
        ({"status": Status.SCHEDULED, "phase": None}, (404, "piece.not_ready", True)),
        ({"phase": Phase.DOWNLOAD}, (404, "piece.not_ready", True)),
        ({"plan": None}, (404, "piece.not_ready", True)),
        ({"track": None}, (404, "piece.not_ready", True)),
    ],
)
async def test_a_job_that_is_not_being_separated_has_no_pieces(
    house: House, changes: dict[str, Any], told: tuple[int, str, bool]
) -> None:
    made = house.move_in(plan_of(90_000))
    house.records.job = replace(made.job, **changes)
    assert told == (await house.ask(f"{JOB}/pieces/0/vocals.wav")).told
    if changes.get("status") is Status.COMPLETED:
        answer = await house.ask(f"{JOB}/pieces/0/vocals.wav")
        assert f"/v1/jobs/{JOB}/stems/" in json.loads(answer.body)["detail"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (f"{JOB}/pieces/0/kazoo.wav", (404, "stem.not_found", False)),
        (f"{JOB}/pieces/0/bass.wav", (404, "stem.not_found", False)),
        (f"{JOB}/pieces/5/vocals.wav", (404, "piece.not_ready", False)),
        (f"{JOB}/pieces/999999999/vocals.wav", (404, "piece.not_ready", False)),
        (f"{JOB}/pieces/{'9' * 400}/vocals.wav", (404, "request.no_such_route", False)),
        (f"{JOB}/pieces/-1/vocals.wav", (404, "request.no_such_route", False)),
        (f"{JOB}/pieces/1.5/vocals.wav", (404, "request.no_such_route", False)),
        (f"{JOB}/pieces/٣/vocals.wav", (404, "request.no_such_route", False)),
        (f"{JOB}/pieces/0/vocals.flac", (404, "request.no_such_route", False)),
        (f"{JOB}/pieces/0/%2e%2e%2fvocals.wav", (404, "request.no_such_route", False)),
        (f"{JOB}/pieces/..%2f0/vocals.wav", (404, "request.no_such_route", False)),
        ("nobody/pieces/0/vocals.wav", (404, "job.not_found", False)),
        ("nobody/pieces", (404, "job.not_found", False)),
        ("no.body/pieces/0/vocals.wav", (404, "job.not_found", False)),
        (f"{'a' * 65}/pieces/0/vocals.wav", (404, "job.not_found", False)),
    ],
)
async def test_what_there_is_not_is_not_found(
    house: House, path: str, told: tuple[int, str, bool]
) -> None:
    house.move_in(plan_of(FRAMES))
    assert told == (await house.ask(path)).told
    assert house.blobs.reads == 0


async def test_a_job_that_was_removed_is_not_found(house: House) -> None:
    answer = await house.ask(f"{JOB}/pieces/0/vocals.wav")
    assert answer.told == (404, "job.not_found", False)


@pytest.mark.parametrize("fault", [ConnectionError("away"), UndecodableError("of tomorrow")])
async def test_a_record_that_cannot_be_read_is_a_reason_to_ask_again(
    house: House, fault: Exception
) -> None:
    house.move_in(plan_of(90_000))
    house.records.fault = fault
    answer = await house.ask(f"{JOB}/pieces/0/vocals.wav")
    assert answer.told == (503, "service.unavailable", True)
    assert answer.headers["Retry-After"]


async def test_head_says_what_get_would_send_and_reads_nothing(house: House) -> None:
    made = house.move_in(plan_of(FRAMES))
    last = made.plan.chunks - 1
    path = f"{JOB}/pieces/{last}/instrumental.wav"
    head, get = await house.ask(path, "HEAD"), await house.ask(path)
    said = ("Content-Length", "Content-Type", "Cache-Control", "Accept-Ranges")
    assert [head.headers[name] for name in said] == [get.headers[name] for name in said]
    assert head.headers["Content-Length"] == str(len(get.body))
    assert (head.headers["Content-Type"], head.headers["Cache-Control"]) == (
        "audio/wav",
        "no-store",
    )
    assert (head.status, head.body) == (200, b"")
    house.blobs.reads = 0
    await house.ask(path, "HEAD")
    assert house.blobs.reads == 0
    assert (await house.ask(f"{JOB}/pieces/99/vocals.wav", "HEAD")).status == 404


def spoil(path: Path, place: int) -> None:
    """Turn one bit of a file."""
    blob = bytearray(path.read_bytes())
    blob[place] ^= 1
    path.write_bytes(blob)


@pytest.mark.parametrize("place", [0, len(MAGIC), PREFIX_BYTES + 3, PREFIX_BYTES + 40])
async def test_a_damaged_header_is_told_before_a_byte_is_sent(house: House, place: int) -> None:
    made = house.move_in(plan_of(FRAMES))
    spoil(house.folder / made.key(1), place)
    answer = await house.ask(f"{JOB}/pieces/1/vocals.wav")
    assert answer.told == (500, "blob.corrupt", False)


async def test_a_length_of_gigabytes_in_a_header_is_not_believed(house: House) -> None:
    made = house.move_in(plan_of(FRAMES))
    path = house.folder / made.key(1)
    blob = path.read_bytes()
    path.write_bytes(blob[:8] + b"\xff\xff\xff\xff" + blob[12:])
    answer = await house.ask(f"{JOB}/pieces/1/vocals.wav")
    assert answer.told == (500, "blob.corrupt", False)


@pytest.mark.parametrize("lost", [0, 1])
async def test_a_chunk_that_is_gone_is_told_before_a_byte_is_sent(house: House, lost: int) -> None:
    made = house.move_in(plan_of(FRAMES))
    (house.folder / made.key(lost)).unlink()
    answer = await house.ask(f"{JOB}/pieces/1/vocals.wav")
    assert answer.told == (404, "blob.missing", False)


async def test_a_song_that_is_shorter_than_it_says_is_damaged(house: House) -> None:
    made = house.move_in(plan_of(FRAMES))
    path = house.folder / "tracks" / made.track.id / "audio.f32"
    path.write_bytes(path.read_bytes()[:-8])
    last = made.plan.chunks - 1
    answer = await house.ask(f"{JOB}/pieces/{last}/vocals.wav")
    assert answer.status == 200  # it is not made from the song
    with pytest.raises((ClientPayloadError, AssertionError)):
        await house.piece(last, "instrumental")


async def test_a_damaged_block_is_never_sent_and_what_came_before_it_is_right(
    house: House,
) -> None:
    made = house.move_in(plan_of(LONG, chunk_frames=LONG))
    path = house.folder / made.key(0)
    spoil(path, path.stat().st_size - 1)  # the last frame of the vocals
    got = bytearray()
    async with house.session.get(f"{house.base}/v1/jobs/{JOB}/pieces/0/vocals.wav") as answer:
        with suppress(ClientPayloadError):
            while data := await answer.content.readany():
                got += data
    assert len(got) < wav_bytes(LONG)
    whole = wav_samples(made.stems["vocals"])
    samples = bytes(got[44:])
    assert 0 < len(samples) <= LONG // BLOCK_FRAMES * BLOCK_FRAMES * 4
    assert whole.startswith(samples)
    drums = await house.piece(0, "drums")  # whose blocks are whole
    assert drums.tobytes() == wav_samples(made.stems["drums"])


async def test_a_job_that_is_cancelled_meanwhile_cuts_its_pieces_off(house: House) -> None:
    made = house.move_in(plan_of(LONG, chunk_frames=LONG))

    async def sweep() -> None:
        if house.blobs.reads == 8:
            (house.folder / made.key(0)).unlink()

    house.blobs.before = sweep
    async with house.session.get(f"{house.base}/v1/jobs/{JOB}/pieces/0/vocals.wav") as answer:
        assert answer.status == 200
        with pytest.raises(ClientPayloadError):
            await answer.read()
    assert house.pieces.open == 0


async def test_too_many_pieces_at_once_are_refused_until_one_is_done(house: House) -> None:
    house.move_in(plan_of(90_000))
    gate = asyncio.Event()
    arrived: asyncio.Queue[None] = asyncio.Queue()

    async def wait() -> None:
        arrived.put_nowait(None)
        await gate.wait()

    house.blobs.before = wait
    async with asyncio.TaskGroup() as asking:
        first = [asking.create_task(house.piece(0, stem)) for stem in ("vocals", "drums")]
        for _ in first:
            await arrived.get()
        answer = await house.ask(f"{JOB}/pieces/0/vocals.wav")
        assert answer.told == (503, "service.unavailable", True)
        assert answer.headers["Retry-After"] == "2"
        assert (await house.ask(f"{JOB}/pieces")).status == 200  # this costs nothing
        gate.set()
    assert [len(task.result()) for task in first] == [90_000, 90_000]
    assert len(await house.piece(0, "vocals")) == 90_000


async def test_a_client_that_stops_reading_is_let_go(house: House) -> None:
    house.pieces._stall_seconds = 0.3
    house.move_in(plan_of(LONG, chunk_frames=LONG))
    host, port = house.base.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)  # noqa: FBT003 - the socket's own interface
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, (host, int(port)))
        asked = f"GET /v1/jobs/{JOB}/pieces/0/vocals.wav HTTP/1.1\r\nHost: {host}\r\n\r\n"
        await loop.sock_sendall(client, asked.encode())
        assert isinstance(await house.endings.get(), ConnectionResetError)
        assert house.pieces.open == 0
        received = 0
        with suppress(ConnectionResetError):
            while data := await loop.sock_recv(client, 1 << 20):
                received += len(data)
        assert received < wav_bytes(LONG)


async def test_memory_does_not_grow_with_the_piece(house: House) -> None:
    house.move_in(plan_of(LONG, chunk_frames=LONG))
    tracemalloc.start()
    try:
        path = f"{house.base}/v1/jobs/{JOB}/pieces/0/instrumental.wav"
        async with house.session.get(path) as answer:
            length = 0
            async for data in answer.content.iter_any():
                length += len(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length == wav_bytes(LONG)
    assert peak < 6_000_000  # a dozen of a block's 0.5 MB; the piece's sums are 10 MB


async def test_the_playlist_lists_what_is_ready(house: House) -> None:
    made = house.move_in(plan_of(FRAMES))
    house.records.job = made.until(2)
    answer = await house.ask(f"{JOB}/pieces")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    seconds = 90_000 / SAMPLE_RATE
    assert json.loads(answer.body) == {
        "pieces": [
            {"n": 0, "start": 0.0, "seconds": seconds},
            {"n": 1, "start": seconds, "seconds": seconds},
        ],
        "stems": ["vocals", "drums", "instrumental"],
        "seconds": FRAMES / SAMPLE_RATE,
        "count": 5,
        "complete": False,
    }


def test_the_pieces_of_a_playlist_add_up_to_the_song(tmp_path: Path) -> None:
    blobs = BlockingBlobs(open_store(f"file://{tmp_path}"))
    made = made_job(blobs, plan_of(FRAMES, TWO_PASSES))
    playlist = playlist_of(snapshot(made.job))
    ends = [round((piece.start + piece.seconds) * SAMPLE_RATE) for piece in playlist.pieces]
    starts = [round(piece.start * SAMPLE_RATE) for piece in playlist.pieces]
    assert (starts[0], starts[1:], ends[-1]) == (0, ends[:-1], FRAMES)
    assert starts == [piece_span(made.plan, piece.n).start for piece in playlist.pieces]


@pytest.mark.parametrize("status", Status)
def test_only_a_job_that_is_being_separated_lists_pieces(tmp_path: Path, status: Status) -> None:
    blobs = BlockingBlobs(open_store(f"file://{tmp_path}"))
    made = made_job(blobs, plan_of(FRAMES))
    playlist = playlist_of(snapshot(replace(made.job, status=status)))
    assert len(playlist.pieces) == (5 if status is Status.PROCESSING else 0)
    # One that waits for another is shown what that one has made.
    follower = replace(made.job, status=status, follows="other")
    listed = playlist_of(snapshot(follower)).pieces
    assert len(listed) == (5 if status in {Status.PROCESSING, Status.PENDING} else 0)
    held = replace(follower, held_at=NOW)
    assert len(playlist_of(snapshot(held)).pieces) == (5 if status is Status.PROCESSING else 0)
    assert playlist.complete == (status is Status.COMPLETED)
    assert playlist.stems == made.plan.stems


def test_a_job_that_was_just_accepted_has_an_empty_playlist() -> None:
    job = Job(
        id=JOB,
        source=Source(url="https://example.org/a.mp3"),
        options=Options(),
        status=Status.PENDING,
        created_at=NOW,
        updated_at=NOW,
    )
    empty = Playlist(pieces=[], stems=(), seconds=None, count=0, complete=False)
    assert empty == playlist_of(snapshot(job))
