"""Pure functions over arrays of regions: no input, no output, no clock."""
