"""autopilot: the verbs that put the rooms to work."""
