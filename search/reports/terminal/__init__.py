"""A search on a terminal and for machines: the live picture, events, status."""
