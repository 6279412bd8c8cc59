"""Whatever shows or hands out a search: pages, terminal, dashboard, exports. Reads a search and changes nothing of it."""
