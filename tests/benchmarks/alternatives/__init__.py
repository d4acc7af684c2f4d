"""The same work on what a user would pick instead; see ``contender`` for what "the same" means."""
