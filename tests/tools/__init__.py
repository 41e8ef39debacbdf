"""Set-up: it runs before anything is installed, so it is tried with made-up programs."""
