"""A project's configuration of the harness, and the setup that `harness init` writes into a project."""
