Relay TCP connections with backpressure, half-close and retries, and UDP datagrams as flows that stay on their server.
