"""The catalogue of metrics, and the Prometheus families made from it."""
