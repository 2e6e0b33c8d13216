"""Executors: what runs the jobs of a graph."""
