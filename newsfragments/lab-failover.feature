`make lab LAB=failover`: what clients see when a server, a balancer, a link or ExaBGP fails and when a site is drained, as a table.
