`lbctl` shows and changes a running balancer over its control socket: status, check, plan, reload, drain, ready, maint, weight, explain and events, as tables of 80 columns or as JSON.
