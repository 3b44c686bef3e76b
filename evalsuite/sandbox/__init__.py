"""Somebody else's program runs in a box: no network, no files but its own, bounded memory, time and processes."""
