"""One piece at a time; most of it pure."""
