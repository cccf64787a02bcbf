"""DOING it: the only package with threads, sockets and time."""
