"""bundle: what ships. No torch."""
