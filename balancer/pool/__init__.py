"""Pools of servers and the one verdict on each: pure, knows no sockets, no clock and no Twisted."""
