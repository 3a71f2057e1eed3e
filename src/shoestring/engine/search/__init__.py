"""search: better values of a recipe: the plan, the trials, and the processes that do them."""
