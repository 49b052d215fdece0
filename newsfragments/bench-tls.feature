`make bench` also compares HTTPS, TLS handshakes, the memory of idle TLS connections, and what a reload each second costs the requests meanwhile.
