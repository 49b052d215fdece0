"""Probes, and the timed service that feeds their verdicts to pools: knows no HTTP."""
