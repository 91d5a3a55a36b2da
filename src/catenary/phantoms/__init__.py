"""Procedural scenes with exact truth."""
