"""The whole stack from outside: real processes, a real broker, a real site."""
