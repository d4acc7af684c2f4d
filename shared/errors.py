"""Everything that can go wrong, said once: a stable code, a sentence, and what to do about it.

An error is either *terminal* (the same input will fail again) or *retryable* (the world may
be different in a moment).  Adapters translate library exceptions into these two; nothing else
crosses a service's border.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Code(StrEnum):
    """A failure's stable name: clients may switch on it, so a code never changes its meaning."""

    REQUEST_MALFORMED = "request.malformed"
    REQUEST_TOO_LARGE = "request.too_large"
    REQUEST_UNACCEPTABLE = "request.unacceptable"
    REQUEST_FORBIDDEN = "request.forbidden"
    ROUTE_NOT_FOUND = "request.no_such_route"
    METHOD_NOT_ALLOWED = "request.method_not_allowed"
    JOB_NOT_FOUND = "job.not_found"
    JOB_WRONG_STATE = "job.wrong_state"
    JOB_EXISTS = "job.exists"
    JOB_REMOVED = "job.removed"
    JOB_TIMED_OUT = "job.timed_out"
    JOB_DEADLINE_PASSED = "job.deadline_passed"
    KEY_REUSED = "request.key_reused"
    BATCH_NOT_FOUND = "batch.not_found"
    BATCH_WRONG_STATE = "batch.wrong_state"
    BATCH_EMPTY = "batch.empty"
    BATCH_TOO_LONG = "batch.too_long"
    QUEUE_FULL = "queue.full"
    QUEUE_OWNER_FULL = "queue.owner_full"
    STEM_NOT_FOUND = "stem.not_found"
    COVER_NOT_FOUND = "cover.not_found"
    PIECE_NOT_READY = "piece.not_ready"
    RANGE_NOT_SATISFIABLE = "stem.range_not_satisfiable"

    SOURCE_NOT_A_URL = "source.not_a_url"
    SOURCE_SCHEME = "source.scheme"
    SOURCE_FORBIDDEN_ADDRESS = "source.forbidden_address"
    SOURCE_UNREACHABLE = "source.unreachable"
    SOURCE_NOT_FOUND = "source.not_found"
    SOURCE_REFUSED = "source.refused"
    SOURCE_RATE_LIMITED = "source.rate_limited"
    SOURCE_SITE_PAUSED = "source.site_paused"
    SOURCE_UNAVAILABLE = "source.unavailable"
    SOURCE_NO_MEDIA = "source.no_media"
    SOURCE_PLAYLIST = "source.playlist"
    SOURCE_LIVE = "source.live"
    SOURCE_TOO_LARGE = "source.too_large"
    SOURCE_TOO_LONG = "source.too_long"
    SOURCE_NOT_AUDIO = "source.not_audio"
    SOURCE_NO_AUDIO_STREAM = "source.no_audio_stream"
    SOURCE_EMPTY = "source.empty"
    SOURCE_STALLED = "source.stalled"
    SOURCE_UPLOAD_MISSING = "source.upload_missing"

    MODEL_UNKNOWN = "model.unknown"
    MODEL_NO_SUCH_STEM = "model.no_such_stem"
    MODEL_WEIGHTS_UNAVAILABLE = "model.weights_unavailable"
    MODEL_CHANGED = "model.changed"

    BLOB_MISSING = "blob.missing"
    BLOB_CORRUPT = "blob.corrupt"
    STORAGE_FULL = "storage.full"
    STORAGE_LOW = "storage.low"
    STORAGE_UNAVAILABLE = "storage.unavailable"

    WORKER_CRASHED = "worker.crashed"
    WORKER_OUT_OF_MEMORY = "worker.out_of_memory"
    WORKER_TIMED_OUT = "worker.timed_out"
    WORKER_POISON = "worker.poison"

    SERVICE_UNAVAILABLE = "service.unavailable"
    SERVICE_NO_WORKERS = "service.no_workers"
    INTERNAL = "internal"


class Explanation(NamedTuple):
    """What a person reads: ``title`` names the failure, ``hint`` says what they can do."""

    title: str
    hint: str


CATALOGUE: Final[Mapping[Code, Explanation]] = MappingProxyType(
    {
        Code.REQUEST_MALFORMED: Explanation(
            "The request is not what this endpoint takes",
            "Compare it with the examples in the README.",
        ),
        Code.REQUEST_TOO_LARGE: Explanation(
            "The request is larger than this server allows",
            "Send a smaller file, or ask the operator to raise STEMBUS_MAX_UPLOAD_BYTES.",
        ),
        Code.REQUEST_UNACCEPTABLE: Explanation(
            "The request can't be served in this form",
            "Compare its headers with the examples in the README.",
        ),
        Code.REQUEST_FORBIDDEN: Explanation(
            "The request comes from where this server does not take requests from",
            "Use one of the names in STEMBUS_ALLOWED_HOSTS, and the proxy that says who you are.",
        ),
        Code.ROUTE_NOT_FOUND: Explanation(
            "There is nothing at this address",
            "The README lists the API's addresses.",
        ),
        Code.METHOD_NOT_ALLOWED: Explanation(
            "This address does not take that method",
            "The Allow header lists the methods it takes.",
        ),
        Code.JOB_NOT_FOUND: Explanation(
            "There is no such job",
            "It may have been removed, or the id has a typing error.",
        ),
        Code.JOB_WRONG_STATE: Explanation(
            "The job's status does not allow that",
            "Look at the job's status and try what it allows.",
        ),
        Code.JOB_EXISTS: Explanation(
            "A job with this id exists already and is another one",
            "Leave the id out and the server will choose one.",
        ),
        Code.JOB_REMOVED: Explanation(
            "This job was done and has been removed since",
            "Send it again under another id or Idempotency-Key to have it done anew.",
        ),
        Code.JOB_TIMED_OUT: Explanation(
            "The job took longer than this server allows",
            "Retry; if it happens again, use a shorter track or a smaller model.",
        ),
        Code.JOB_DEADLINE_PASSED: Explanation(
            "The job was not done by its deadline",
            "Submit it again with a later deadline, or with a higher priority.",
        ),
        Code.KEY_REUSED: Explanation(
            "This Idempotency-Key came with another request before",
            "Use a new key for a new request.",
        ),
        Code.BATCH_NOT_FOUND: Explanation(
            "There is no such batch",
            "It may have been removed, or the id has a typing error.",
        ),
        Code.BATCH_WRONG_STATE: Explanation(
            "The batch's status does not allow that",
            "Look at the batch's status and try what it allows.",
        ),
        Code.BATCH_EMPTY: Explanation(
            "There is no song in this batch that can be taken",
            "Look at what was skipped and why.",
        ),
        Code.BATCH_TOO_LONG: Explanation(
            "The batch has more songs than this server takes at once",
            "Send the rest as another batch.",
        ),
        Code.QUEUE_FULL: Explanation(
            "Too many jobs are waiting",
            "Try again after the time in Retry-After.",
        ),
        Code.QUEUE_OWNER_FULL: Explanation(
            "Too many of this owner's jobs are waiting",
            "Try again after the time in Retry-After, when some of them are done.",
        ),
        Code.STEM_NOT_FOUND: Explanation(
            "The job has no such stem",
            "The job's record lists its stems once it has completed.",
        ),
        Code.COVER_NOT_FOUND: Explanation(
            "The job has no picture",
            "A job has one as soon as it is downloaded, if its source had one.",
        ),
        Code.PIECE_NOT_READY: Explanation(
            "This piece of the song can't be heard",
            "The job's record counts the pieces that are ready. A job that has completed has its"
            " stems at /v1/jobs/{id}/stems/{stem}.{format} instead.",
        ),
        Code.RANGE_NOT_SATISFIABLE: Explanation(
            "The asked range lies outside the file",
            "Ask without a Range header to learn the file's length.",
        ),
        Code.SOURCE_NOT_A_URL: Explanation(
            "This is not a URL",
            "Paste a full address that begins with http:// or https://.",
        ),
        Code.SOURCE_SCHEME: Explanation(
            "Only http and https URLs can be fetched",
            "For a file on your machine, upload it instead.",
        ),
        Code.SOURCE_FORBIDDEN_ADDRESS: Explanation(
            "The URL leads into a private network",
            "Upload the file, or let the operator list the network in STEMBUS_ALLOW_NETWORKS.",
        ),
        Code.SOURCE_UNREACHABLE: Explanation(
            "The site can't be reached",
            "Check the address and whether the site is up, then retry.",
        ),
        Code.SOURCE_NOT_FOUND: Explanation(
            "The site says there is nothing at this address",
            "Check the address.",
        ),
        Code.SOURCE_REFUSED: Explanation(
            "The site refuses to hand this out",
            "It may need a login or block downloads; upload the file instead.",
        ),
        Code.SOURCE_RATE_LIMITED: Explanation(
            "The site asks us to slow down",
            "Retry in some minutes.",
        ),
        Code.SOURCE_SITE_PAUSED: Explanation(
            "The site has refused us lately and is left alone for a while",
            "Nothing: the job goes on by itself. To be quicker, upload the file.",
        ),
        Code.SOURCE_UNAVAILABLE: Explanation(
            "The site does not offer this for download",
            "It may be private, removed, or closed to this region; upload the file instead.",
        ),
        Code.SOURCE_NO_MEDIA: Explanation(
            "No song was found on this page",
            "Give the address of a page with one song or video, or of the file itself.",
        ),
        Code.SOURCE_PLAYLIST: Explanation(
            "This address holds several songs",
            "Give the address of one of them.",
        ),
        Code.SOURCE_LIVE: Explanation(
            "This is a live stream, which has no end",
            "Wait until its recording is available.",
        ),
        Code.SOURCE_TOO_LARGE: Explanation(
            "The source is larger than this server allows",
            "Use a smaller file, or ask the operator to raise STEMBUS_MAX_SOURCE_BYTES.",
        ),
        Code.SOURCE_TOO_LONG: Explanation(
            "The source is longer than this server allows",
            "Cut it, or ask the operator to raise STEMBUS_MAX_TRACK_SECONDS.",
        ),
        Code.SOURCE_NOT_AUDIO: Explanation(
            "This is not a media file that can be decoded",
            "Check that the file plays; audio and video files of the usual kinds are taken.",
        ),
        Code.SOURCE_NO_AUDIO_STREAM: Explanation(
            "The file has no sound in it",
            "Choose a file with an audio track.",
        ),
        Code.SOURCE_EMPTY: Explanation(
            "The file holds no audio",
            "Check that the file is whole and plays.",
        ),
        Code.SOURCE_STALLED: Explanation(
            "The download stopped moving",
            "Retry; if it happens again, the site may be blocking downloads.",
        ),
        Code.SOURCE_UPLOAD_MISSING: Explanation(
            "The uploaded file is not there any more",
            "Upload it again; uploads are kept for a day.",
        ),
        Code.MODEL_UNKNOWN: Explanation(
            "There is no such model",
            "GET /v1/models lists the models.",
        ),
        Code.MODEL_NO_SUCH_STEM: Explanation(
            "The model does not make that stem",
            "GET /v1/models lists each model's stems.",
        ),
        Code.MODEL_WEIGHTS_UNAVAILABLE: Explanation(
            "The model's weights can't be had",
            "Put them into STEMBUS_MODELS_DIR, go online, or use 'dsp', which needs none.",
        ),
        Code.MODEL_CHANGED: Explanation(
            "The separators do not all have the same version of this model",
            "Bring every separator's model folder to the same state, then retry.",
        ),
        Code.BLOB_MISSING: Explanation(
            "A stored file is gone",
            "Retry a failed job; for a completed one submit its song again with reuse off"
            " (--fresh). If it happens again, check the blob store.",
        ),
        Code.BLOB_CORRUPT: Explanation(
            "A stored file is damaged",
            "Retry a failed job; for a completed one submit its song again with reuse off"
            " (--fresh). If it happens again, check the disk.",
        ),
        Code.STORAGE_FULL: Explanation(
            "The server's disk is full",
            "Free some space, then retry.",
        ),
        Code.STORAGE_LOW: Explanation(
            "The server is low on disk space",
            "Free some space; waiting jobs go on by themselves.",
        ),
        Code.STORAGE_UNAVAILABLE: Explanation(
            "The blob store does not answer",
            "Retry; if it happens again, check the blob store.",
        ),
        Code.WORKER_CRASHED: Explanation(
            "The program that worked on this died",
            "Retry; if it happens again, the file may be broken: please report it.",
        ),
        Code.WORKER_OUT_OF_MEMORY: Explanation(
            "The program that worked on this ran out of memory",
            "Use a shorter track or a smaller model, or give the worker more memory.",
        ),
        Code.WORKER_TIMED_OUT: Explanation(
            "The program that worked on this took too long",
            "Retry; if it happens again, the file may be broken: please report it.",
        ),
        Code.WORKER_POISON: Explanation(
            "This work has brought its worker down again and again",
            "The file may be broken: please report it.",
        ),
        Code.SERVICE_UNAVAILABLE: Explanation(
            "A part of the service is not there at the moment",
            "Try again in a few seconds.",
        ),
        Code.SERVICE_NO_WORKERS: Explanation(
            "No worker is there at the moment",
            "Nothing: the job goes on as soon as one is. If none comes, start one.",
        ),
        Code.INTERNAL: Explanation(
            "Something went wrong inside Stembus",
            "Retry; if it happens again, please report it with the job's id.",
        ),
    }
)


class StembusError(Exception):
    """A failure that has a code.  Raise one of its two kinds, never this."""

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(f"{code.value}: {detail or CATALOGUE[code].title}")
        self.code = code
        self.detail = detail
        #: The site that said so, where one did: a name that is the same for all its addresses.
        self.site: str | None = None


class TerminalError(StembusError):
    """Trying again with the same input will fail again."""


class RetryableError(StembusError):
    """Trying again may help; not before ``retry_after`` seconds, where the other side said so."""

    def __init__(self, code: Code, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


def of_os_error(exc: OSError) -> RetryableError:
    """What the operating system refused, as a failure with a code."""
    full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
    code = Code.STORAGE_FULL if full else Code.WORKER_CRASHED
    return RetryableError(code, exc.strerror or type(exc).__name__)
