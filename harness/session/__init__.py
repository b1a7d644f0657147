"""The workflow of a run: choose targets and cases, run them in workers, and judge the traces."""
