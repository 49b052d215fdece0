Rates per second and counts at once, per source or any other key, are held in tables of bounded size.
