"""``packshot`` on the command line: ``main`` starts it, ``commands`` holds the commands."""
