"""What watches a cluster: probe, exporter, alerts, dashboards, logs, and the dashboard's route."""
