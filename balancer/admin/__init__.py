"""The status API and the metrics: they see the site through ISite only."""
