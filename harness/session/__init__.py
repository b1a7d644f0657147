"""A run's workflow: what to run, where, by which workers, and what becomes of it."""
