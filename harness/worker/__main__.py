"""`python -m harness.worker`: started by the controller, never by hand."""

from harness.worker.server import main

if __name__ == "__main__":
    main()
