"""Leaderboards and tables, made from result files alone."""
