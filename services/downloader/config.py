"""The downloader's settings."""

from __future__ import annotations

from services.downloader.addresses import parse_networks
from shared.settings import ServiceConfig, SettingError, variable_of


class DownloaderConfig(ServiceConfig, frozen=True, kw_only=True):
    """What a downloader needs to know; field ``x_y`` is read from ``STEMBUS_X_Y``."""

    #: Songs handled at once.  Downloads wait for the network most of the time, and decoding runs
    #: hundreds of times faster than real time, so two keep one core busy without piling up files.
    download_slots: int = 2
    #: Networks (CIDR) that URLs may lead into besides the public internet.  None: a URL comes
    #: from outside and must not open the operator's own network; home servers may list theirs.
    allow_networks: tuple[str, ...] = ()
    #: Largest source.  The longest allowed track as 44.1 kHz/16-bit WAV is 3.8 GB; a video file
    #: of an evening's concert is as much.
    max_source_bytes: int = 4 << 30
    #: Longest track.  Six hours are a long DJ set; as canonical PCM that is 7.6 GB of disk.
    max_track_seconds: float = 6 * 3600.0
    #: Private memory of a yt-dlp child: it needs about 150 MB, a JavaScript runtime some more.
    fetch_memory_bytes: int = 1 << 30
    #: Private memory of a decoding child: it streams, and needs about 100 MB.
    decode_memory_bytes: int = 512 << 20
    #: A download is taken for stalled when nothing has moved for this many seconds.  Longer than
    #: ``socket_timeout``, so that one lost connection can be taken up again.
    fetch_silence_seconds: float = 60.0
    #: Seconds that one read from the network may take before yt-dlp tries again.
    socket_timeout: float = 20.0
    #: Seconds that reading a playlist may take: 500 entries are some 25 pages of a slow site.
    expand_seconds: float = 180.0
    #: A decoder reports ten times a second; after this many seconds of silence it hangs.
    decode_silence_seconds: float = 60.0
    #: Uploads are removed after this long, unless a job that has not ended names them: a day, so
    #: that a job that failed overnight can still be retried.
    upload_keep_seconds: float = 24 * 3600.0
    #: Files of songs, results and unfinished work that no job names are removed when nobody has
    #: touched them for this long; 0 leaves them.
    orphan_seconds: float = 24 * 3600.0
    #: With less room than this on the disk of the scratch folder, or of a local blob store, no
    #: new song is begun; what is at work goes on, and so do the separators, who make room.  A
    #: song of an hour is some 1.3 GB of PCM while it is worked on.  0 never looks.
    min_free_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        """``SettingError`` for what can't work, at start and not at the first song."""
        try:
            parse_networks(self.allow_networks)
        except ValueError as exc:
            message = f"{variable_of('allow_networks')}: {exc}"
            raise SettingError(message) from exc
        for field in (
            "download_slots",
            "max_source_bytes",
            "max_track_seconds",
            "fetch_silence_seconds",
            "decode_silence_seconds",
            "socket_timeout",
            "expand_seconds",
            "upload_keep_seconds",
        ):
            if getattr(self, field) <= 0:
                message = f"{variable_of(field)}={getattr(self, field)}: must be above 0"
                raise SettingError(message)
        for field in ("orphan_seconds", "min_free_bytes"):
            if getattr(self, field) < 0:
                message = f"{variable_of(field)}={getattr(self, field)}: must not be below 0"
                raise SettingError(message)
