"""The DNS balancer over real sockets, beside gdnsd, Knot DNS, NSD and unbound."""
