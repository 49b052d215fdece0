TLS listeners accept a client when its first message has come (`TCP_DEFER_ACCEPT`), so that a handshake wakes the balancer once less; a silent client reaches it after a second.
