Servers are probed over TCP, UDP or by a program, spread over the interval and never twice at once; a server that hangs, or a balancer short of descriptors, harms no other verdict.
