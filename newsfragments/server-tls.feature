Servers with `tls` are connected to and checked under TLS, and verified by name; `sni=`, `tls-ca`, `tls-cert` and `tls-verify` say how.
