A listener of `[http]` ends TLS with `tls=DIR-or-PEM`: certificates chosen by name, renewed by a reload while connections stay; `redirect https` sends plain requests there.
