"""The separator, by itself."""
