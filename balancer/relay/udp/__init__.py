"""The kind `udp`: datagrams, in flows that stay on their server."""
