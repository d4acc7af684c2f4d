"""The gateway's configuration."""

from __future__ import annotations

from shared.settings import ServiceConfig


class GatewayConfig(ServiceConfig, frozen=True, kw_only=True):
    """Beside what every service needs.  /health, /ready and /metrics are on the same port."""

    #: Where it listens; nothing outside this machine gets in unless told otherwise.
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    #: Names that a request's Host header may bear, comma-separated; ``*`` allows all.  Keeps a
    #: page elsewhere from reaching a local server under a name of its own (DNS rebinding).
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    #: Name of the header in which a trusted proxy says who asks; a job's owner is then what it
    #: says, and requests without it are refused.  Empty: the request's body may name an owner.
    owner_header: str = ""
    #: Largest upload: an hour of 24-bit stereo at 96 kHz is 2 GB.
    max_upload_bytes: int = 2 << 30
    #: Uploads at once: each holds a connection and a few megabytes.
    max_uploads: int = 16
    #: Bytes of the blob store's disk that are left free: no upload is taken that would need
    #: them.  0 takes all; a blob store that is no local folder is never asked.
    min_free_bytes: int = 1 << 30
    #: Seconds without a byte after which an upload is given up.
    upload_silence_seconds: float = 60.0
    #: Seconds to wait for the scheduler's answer before saying "accepted, not yet there" (202).
    answer_seconds: float = 3.0
    #: Live connections at once; each costs some 16 KiB.
    max_streams: int = 2000
    #: Seconds that one write to a live connection may take; a stalled client is let go.
    stream_stall_seconds: float = 30.0
    #: The same for a stem: a player that is paused reads nothing for a while, and may.
    stem_stall_seconds: float = 300.0
    #: Pieces of songs that are still being made, played at once: each holds some megabytes and a
    #: thread.
    max_pieces: int = 16
    #: Seconds that a block of a piece may take to be sent: a player takes a piece whole, so who
    #: doesn't read has gone.
    piece_stall_seconds: float = 30.0
