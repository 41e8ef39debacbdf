"""The report: what a probe sends, how it is written, and how many of them become one. Pure."""
