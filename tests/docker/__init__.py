"""The probe on a real Docker engine."""
