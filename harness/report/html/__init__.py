"""The report: one HTML file, made from result files alone."""
