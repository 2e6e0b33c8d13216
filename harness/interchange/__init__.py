"""Checkpoints of other programs, coming and going."""
