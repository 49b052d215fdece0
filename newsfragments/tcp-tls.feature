`[tcp]` ends TLS with `tls = DIR-or-PEM`, for protocols that have none of their own.
