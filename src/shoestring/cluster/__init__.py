"""cluster: work past one machine, on Ray."""
