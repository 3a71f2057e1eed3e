"""cluster: tests of the room of that name, whose fixtures end with them."""
