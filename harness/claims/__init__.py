"""What papers report, set beside what was measured: claims as data, verdicts by rule."""
