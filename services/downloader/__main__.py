"""Runs the downloader."""

from services.downloader.config import DownloaderConfig
from services.downloader.wiring import assemble
from shared.service import main

if __name__ == "__main__":
    main("downloader", DownloaderConfig, assemble)
