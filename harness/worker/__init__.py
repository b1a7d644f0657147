"""The worker's side of the wall: a process that has imported one backend, and forks a child for each request."""
