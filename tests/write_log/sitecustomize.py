"""Imported by every Python that starts with this folder first on its PYTHONPATH."""

import kernel_guard
import write_log

kernel_guard.install()
write_log.install()
