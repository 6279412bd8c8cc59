"""The loop: trials are claimed, scored and saved; what is said on the way; the search as Python sees it. Decides nothing: `proposing` does."""
