"""One cell's result."""
