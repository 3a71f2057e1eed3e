"""reading: parallel text from files of several kinds."""
