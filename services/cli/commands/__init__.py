"""The subcommands, by theme: what they are called with, and what they do."""
