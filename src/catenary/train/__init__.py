"""From a plan and cases to weights."""
