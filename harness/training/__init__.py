"""One optimizer step, and what it runs on."""
