"""The same load on us and on our peers, one after the other."""
