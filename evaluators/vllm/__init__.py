"""Models served by vLLM: settings, starting and ending the engine, drafts, the probe. Knows no study, no candidate."""
