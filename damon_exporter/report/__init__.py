"""What DAMON saw, for people at a terminal: accesses, working sets and heat, of a recording or of this host now."""
