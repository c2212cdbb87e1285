"""Imported by every Python that starts with this folder on its PYTHONPATH."""

import kernel_guard

kernel_guard.install()
