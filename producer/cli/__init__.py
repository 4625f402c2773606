"""``packshot`` on the command line; ``main`` holds the commands."""
