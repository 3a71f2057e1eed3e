"""reading: pictures from disk, decoded once, checked and kept at one size."""
