"""How stems are put together from chunks: for whoever writes them, or reads them."""
