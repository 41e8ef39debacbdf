"""Outside programs that the project needs, and the environment it runs in.

All of it runs before any dependency is installed, so it needs the standard library alone,
and imports nothing else of this project.
"""
