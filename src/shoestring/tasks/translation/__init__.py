"""translation: parallel text in, text of another language out."""
