"""Blame: the search for the part that makes a difference, and the script that shows the difference."""
