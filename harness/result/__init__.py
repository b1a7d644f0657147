"""What was found: a run's result as values, as JSON, and in its folder."""
