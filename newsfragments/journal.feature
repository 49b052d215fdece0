The service writes its log as the journal wants it: without times of its own, and each line as grave as it is (`journalctl -p err -u balancer`).
