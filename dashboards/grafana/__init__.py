"""Dashboards for Grafana: a builder, and the JSON that it makes."""
