"""The other side of the wall: a warm process that has imported one backend, and forks a child for each case."""
