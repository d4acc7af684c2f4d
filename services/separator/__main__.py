"""Runs the separator."""

from services.separator.config import SeparatorConfig
from services.separator.wiring import assemble
from shared.service import main

if __name__ == "__main__":
    main("separator", SeparatorConfig, assemble)
