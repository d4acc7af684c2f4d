"""Other people's separators as programs that keep their model: a song a line, on standard input."""
