`[http NAME]` balances HTTP/1.1: keep-alive on both sides, streamed bodies, routes, header edits, retries, queues, limits, tunnels and access logs.
