"""Where snapshots come from: the tracepoint, sysfs, or a recording."""
