"""The downloader: a URL or an upload in, a canonical track out."""
