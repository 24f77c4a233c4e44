"""Shop events: the data set's files, look-alike traffic, burst bots."""
