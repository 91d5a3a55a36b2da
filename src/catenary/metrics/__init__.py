"""What predictions are measured by."""
