Connections, datagrams and log lines move over a lean epoll reactor and transports of our own, which keep Twisted's contract: stock protocols run on them.
