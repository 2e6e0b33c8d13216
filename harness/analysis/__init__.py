"""Statistics over result files; pure functions, no torch."""
