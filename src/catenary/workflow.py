"""The orchestration."""
