"""The instruments: what a worker records of a case. Everything here runs on the worker's side of the wall."""
