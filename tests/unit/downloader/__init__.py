"""The downloader: its rules, its guard, its children, its actor."""
