"""Whose a difference is: the search, and the script that shows it."""
