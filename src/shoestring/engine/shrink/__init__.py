"""shrink: smaller networks: what units and weights matter, cutting them, ways to ship."""
