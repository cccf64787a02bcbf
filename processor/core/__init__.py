"""WHAT to do: pure decisions over immutable values. No clock, no randomness, no I/O, no library."""
