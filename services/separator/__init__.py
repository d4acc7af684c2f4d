"""The separator: chunks of a track to weighted sums, and these to encoded stems."""
