"""A fake of the kernel files that damon-exporter uses, for tests: a FUSE file system that answers as DAMON does."""

from damon_exporter.testing.fake_kernel.client import FakeKernel

__all__ = ["FakeKernel"]
