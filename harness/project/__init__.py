"""What a project says of itself, and the setup that `harness init` writes into one."""
