"""What may be said on the bus: the types, their subjects and their encoding.  Pure."""
