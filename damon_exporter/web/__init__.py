"""Landing page, /metrics and health, all served from the published state."""
