"""The operator's command. It knows the control socket's lines and nothing of the balancer's code:
stdlib only, so that it starts in the time of Python itself."""
