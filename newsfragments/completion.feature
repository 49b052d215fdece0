Bash and Zsh complete `lbctl` and `balancer-setup`: verbs, options, the servers and balancers of the running site, and files.
