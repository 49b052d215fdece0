"""Probes of servers, and the timed service that feeds their results to pools."""
