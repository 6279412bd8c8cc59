"""Whatever shows or hands out a search: pages, terminal, dashboard, exports. Changes nothing of it."""
