"""A fake kernel and a maker of trace pages, for our tests and for yours."""
