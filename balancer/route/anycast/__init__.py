"""Prefixes that are announced by BGP while they are served, through ExaBGP."""
