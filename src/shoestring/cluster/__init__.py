"""cluster: work past one machine, and what can be said of it beforehand."""
