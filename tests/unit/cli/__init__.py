"""The command line, against a gateway that is played."""
