"""GeoDNS: zones of static records and of answers that follow the pools."""
