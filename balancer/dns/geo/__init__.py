"""Which place a client belongs to, and for which prefix that holds."""
