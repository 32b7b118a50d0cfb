"""What enters the sandbox: nothing here knows a test, a seed or a solution."""
