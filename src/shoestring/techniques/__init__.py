"""techniques: one file for each; the folder is the registry."""
