"""What the exit codes of all commands mean, to a script and to the supervisor of workers.

Nothing but the numbers; which end has which code is said where it ends. The idea: 2 and 3 come back at every start
until a person changes something, 1 and 4 may be gone at the next one.
"""

EXIT_FAILURE = 1
"""It did not do what it was asked for."""
EXIT_USAGE = 2
"""The arguments are no sense, as typer has it too."""
EXIT_CONFIGURATION = 3
"""A setting, a topic, a right, a port or a state cannot be used."""
EXIT_UNREACHABLE = 4
"""Kafka or Axle cannot be reached, or refuses."""
