"""How stems are put together from chunks: arithmetic and layout, for whoever writes or reads them."""
