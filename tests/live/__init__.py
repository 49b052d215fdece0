"""Real processes, real sockets, real peers."""
