"""engine: work on a run. torch lives from here on, imported where it is used."""
