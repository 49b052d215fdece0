"""Addresses of DNS names: what a resolver is asked, what it answers, and who is asked next."""
