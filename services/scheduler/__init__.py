"""The single owner of job state: decides everything, touches no audio."""
