"""An actor: takes a message, returns the words that follow.  Knows no NATS."""
