"""Next hops of a prefix that follow the verdicts of a pool."""
