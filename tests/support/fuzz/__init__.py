"""Inputs as nobody should give them, made by kind from a seed; see ``__main__``."""
