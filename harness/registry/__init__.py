"""How plugins come in."""
