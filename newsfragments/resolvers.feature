Servers' DNS names are looked up again when their TTL is over, through `[site] resolvers` or those of resolv.conf, over UDP and TCP; the hosts file counts first, and a changed file within a second.
