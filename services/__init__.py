"""The four services and the command line; they meet on the bus, never in an import."""
