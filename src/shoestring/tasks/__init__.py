"""tasks: one folder for each kind of problem; the folder is the registry."""
