"""Rates and per-source counts in bounded tables: pure, knows nothing of who asks."""
