The directory `[site] state` keeps what must survive a restart.
