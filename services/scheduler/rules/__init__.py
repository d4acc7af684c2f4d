"""The rules of a job's life, by who brings them about: clients, workers, time."""
