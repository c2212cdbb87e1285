"""What is shown of the metrics elsewhere."""
