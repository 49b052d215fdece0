"""`balancer-setup`: what a machine needs beside the package, written once by root. It knows the
files of systemd and BIRD and how a certificate is made; nothing of the site file."""
