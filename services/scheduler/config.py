"""The scheduler's configuration."""

from __future__ import annotations

from shared.settings import ServiceConfig, SettingError, variable_of


class SchedulerConfig(ServiceConfig, frozen=True, kw_only=True):
    """Beside what every service needs."""

    #: Jobs that may be processing at once: bounds the temporary blobs on the disk.
    max_processing: int = 16
    #: Jobs that may wait; over it a submit is refused (429).  10,000 songs are weeks of work for
    #: a machine, and their records some 20 MB.
    max_waiting: int = 10_000
    #: Jobs of one owner that may wait; over it a submit of theirs is refused (429).
    max_waiting_per_owner: int = 1_000
    #: Seconds of waiting that count as much as the next higher priority, so that low ones get
    #: their turn.
    ageing_seconds: float = 600.0
    #: Seconds that a job's download may take: far above what any song needs, so that only what
    #: would never end is ended.
    max_download_seconds: float = 2 * 3600.0
    #: Seconds that a job's separation may take: an hour of music takes one on a slow CPU.
    max_separation_seconds: float = 48 * 3600.0
    #: Seconds that a job's finalization may take.
    max_finalization_seconds: float = 2 * 3600.0
    #: Seconds that all of a job may take, from its turn to its end.
    max_job_seconds: float = 72 * 3600.0
    #: Refusals in a row after which a site is left alone; one "slow down" (429) is enough.
    site_refusals: int = 3
    #: Seconds that a site which refuses is left alone at first; doubled as long as it goes on.
    site_pause_seconds: float = 30.0
    #: Seconds that a site which refuses is left alone at most.
    site_longest_pause_seconds: float = 900.0
    #: Seconds that finished jobs and their files are kept; 0: no limit.
    keep_seconds: float = 30 * 24 * 3600.0
    #: Bytes that the files of finished jobs may take, the oldest going first; 0: no limit.
    keep_bytes: int = 0
    #: Seconds after its download for which what an address led to is taken for the same song: an
    #: equal job gets the result, or the track, that is there.  A page's content may change; in a
    #: week it hardly ever does.  0: every job downloads.  Uploads are known by their bytes.
    reuse_seconds: float = 7 * 24 * 3600.0

    def __post_init__(self) -> None:
        """``SettingError`` for what can't work, at start and not at the first song."""
        for field in (
            "max_processing",
            "max_waiting",
            "max_waiting_per_owner",
            "ageing_seconds",
            "max_download_seconds",
            "max_separation_seconds",
            "max_finalization_seconds",
            "max_job_seconds",
            "site_refusals",
            "site_pause_seconds",
            "site_longest_pause_seconds",
        ):
            _at_least(self, field, above=True)
        for field in ("keep_seconds", "keep_bytes", "reuse_seconds"):
            _at_least(self, field, above=False)


def _at_least(config: SchedulerConfig, field: str, *, above: bool) -> None:
    value = getattr(config, field)
    if value < 0 or (above and value == 0):
        bound = "above 0" if above else "0 or more"
        raise SettingError(f"{variable_of(field)}={value}: must be {bound}")
