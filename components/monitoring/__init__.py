"""What watches a cluster: exporter, alerts, dashboards, logs, and the dashboard's route."""
