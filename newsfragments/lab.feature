`make lab`: a small internet in namespaces, with two sites of two balancers, routers that run BIRD or FRR, clients and a resolver.
