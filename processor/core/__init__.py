"""WHAT to do: pure decisions over immutable values. No clock, no randomness, no I/O; of libraries only msgspec."""
