"""YAML to cells."""
