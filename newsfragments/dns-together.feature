DNS queries over UDP that come together are taken and answered with one call into the kernel each way: 9 to 25 % less CPU for a query under load.
