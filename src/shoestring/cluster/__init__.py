"""cluster: work past one machine, on Ray, and what can be said of it beforehand."""
