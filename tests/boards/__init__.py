"""Dashboards, rules and alerts, against a real Prometheus and a real Alertmanager."""
