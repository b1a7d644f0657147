"""What a difference says: verdicts on observations, and comparisons of traces. NumPy only, no Keras."""
