"""From a masked network to one that is smaller and faster, and computes the same."""
