"""What the services have in common: what may be said, and how it is said."""
