"""A fake of the kernel files that damon-exporter uses: a FUSE file system that answers as DAMON does.

Programs work on it with real system calls and get the kernel's errors, so nothing in them needs to be replaced::

    with FakeKernel(tmp_path / "kernel", kernel="6.12") as kernel:
        kernel.add_process(42, "busy")
        kernel.write("nr_kdamonds", 1)
        …

Where which rule of the kernel is:

=====================  ===============================================================================
``damon_tree``         folders, files and defaults below ``kdamonds``, by release
``values``             how numbers, words and flags are parsed; ``nr_*`` files make all folders anew
``parameters``         what ``on`` and ``commit`` refuse, and with which errno
``slot``               ``state``, ``pid``, ``refresh_ms``; what ``on`` and ``off`` do
``commands``           how long the other commands take, who is told EBUSY meanwhile, how they fail
``damon_sysfs``        DAMON's one lock; resizing ``nr_kdamonds``
``core``               who may run beside whom
``kdamond``            the monitoring loop: aggregation, schemes, tuning, updates, commit, its end
``targets``            regions, accesses and ages of one target
``schemes``            which regions a scheme tries, its counters and watermarks
``tried_regions``      numbering of region folders
``tuning``             auto-tuning of the intervals
``modules``            damon_stat, damon_reclaim, damon_lru_sort
``tracefs``            trace instances, events, filters; the CPUs that events appear on
``ring_buffer``        pages, overruns, ``trace_pipe_raw`` and its poll(2)
``procfs``             processes, kdamonds among them
``machine``            physical memory, NUMA nodes and CPUs
``page_owners``        ``kpageflags`` and ``kpagecgroup``: what each page frame is, and whose
``cgroups``            the tree of version 2, in which cgroups come and go
``faults``             errors and delays that a test orders
``memory``             what the monitored memory does, set by the test
``fuse_*``             the file system itself, spoken in the FUSE protocol without a library
=====================  ===============================================================================

The kernels are those that were measured, 6.12 and 7.3. Not imitated:

* Sampling. Accesses come from the ratio that the test set, without noise, and regions are cut where that changes, at
  least ``nr_regions/min`` of them; they are neither split at random nor merged, and ``nr_regions/max`` is not enforced.
* Applying between aggregations sees the accesses of the last window, not a moving sum.
* Schemes only count. Quotas, goals and probes have files, and are otherwise ignored; so are filters, except that
  ``target`` filters work and cgroups must exist. ``sz_filter_passed`` is 0, ``effective_bytes`` the quota set.
* vaddr monitors the mappings as they are, not joined into three regions.
* ``commit_inputs`` of modules, memory hotplug, pid and cgroup namespaces.
* Pages are whose and what the test says, whatever memory its processes have; all others are free. Large folios, the
  lists of free pages that each CPU has, page tables and the kernel's own pages do not show. A memory section without
  memory is a hole (6.12: NOPAGE, 7.3: no flags); the rest of one with memory is RESERVED (seen on 6.18).
* Cgroups are made and removed by the test and with their processes, not by mkdir(2) and rmdir(2). Version 1 is not
  there. A zombie's ``/proc/PID/cgroup`` does not say ``(deleted)``.
* ``/proc/self``, on purpose: whoever finds himself there takes its processes for this machine's, and would open their
  pidfds.
* Of the trace: hist triggers, text output, other events than ``damon_aggregated`` and
  ``damon_monitor_intervals_tune``. All trace clocks show CLOCK_MONOTONIC.
* flock(2) on ``state`` excludes nobody; on all other files it works.
"""

from damon_exporter.testing.fake_kernel.client import FakeKernel

__all__ = ["FakeKernel"]
