"""Child programs for tests."""
