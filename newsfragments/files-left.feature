Clients get no more of the file descriptors than leave enough for servers, checks and the operator; the soft limit is raised to the hard one at the start.
