"""The worker's side of the wall: a process that has imported one backend, and forks a child for each request."""

#: The file in a child's folder that names the frameworks which its suite has imported, some perhaps for its data alone.
FRAMEWORKS = "frameworks"
