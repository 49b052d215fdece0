Bash and Zsh complete `lbctl`: verbs, options, the servers and balancers of the running site, and files.
