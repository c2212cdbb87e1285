"""Whose container a cgroup is: read off its path, and named as Kubernetes names it."""
