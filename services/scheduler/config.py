"""The scheduler's configuration."""

from __future__ import annotations

from shared.settings import ServiceConfig


class SchedulerConfig(ServiceConfig, frozen=True, kw_only=True):
    """Beside what every service needs."""

    #: Jobs that may be processing at once: bounds the temporary blobs on the disk.
    max_processing: int = 16
