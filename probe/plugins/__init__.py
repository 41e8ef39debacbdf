"""Plugins of our own: `hooks` is all that an author needs, `testing` what a test of one needs."""
