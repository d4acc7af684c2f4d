"""Runs the scheduler."""

from services.scheduler.config import SchedulerConfig
from services.scheduler.wiring import assemble
from shared.service import main

if __name__ == "__main__":
    main("scheduler", SchedulerConfig, assemble)
