"""Unit, contract and acceptance tests, benchmarks, and what they share."""
