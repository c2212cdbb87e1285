"""The only package that touches /sys, /proc and tracefs."""
