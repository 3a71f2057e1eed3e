"""spread: one fit by many processes: how a model is cut, who does what, what travels."""
