`make run` sets everything up on a fresh Debian 12 and starts the balancer; `make test`, `make test-floor`, `make bench` and `make soak` prove it.
