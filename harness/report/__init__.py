"""Telling people: each report is a function of `result.json` and the traces beside it."""
