The checks `http` and `https` ask a server for a path and judge its status, its body and, over TLS, its certificate.
