"""What a person sees in a terminal.  All text from outside goes through ``plain``."""
