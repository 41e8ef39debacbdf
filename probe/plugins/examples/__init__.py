"""Plugins that operators of Mesos have a use for, and that show how one is written."""
