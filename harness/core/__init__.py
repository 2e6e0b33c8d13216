"""What the author of a plugin reads: connections, masks, phases, and the interfaces."""
