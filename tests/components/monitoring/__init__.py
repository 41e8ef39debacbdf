"""Alerts, dashboards, logs: run by the programs that they are for."""
