"""data: sources, cache, splits and duplicates, for any task. No torch."""
