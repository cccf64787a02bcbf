"""HOW it looks outside: bytes and requests in, values out. Opens nothing."""
