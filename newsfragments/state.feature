`[site] state` keeps what must survive a restart: which servers were up, and the operator's file `overrides`, whose lines drain, take out or give back servers while they stand there.
