"""Real kernels for tests: stock Debian builds, booted in QEMU with software emulation."""
