"""Programs that measure; no test depends on their numbers."""
