"""A fake of the kernel files that damon-exporter uses: a FUSE file system that answers as DAMON does.

Programs work on it with real system calls and get the kernel's errors, so nothing in them needs to be replaced::

    with FakeKernel(tmp_path / "kernel", kernel="6.12") as kernel:
        kernel.add_process(42, "busy")
        kernel.write("nr_kdamonds", 1)
        …

Where which rule of the kernel is:

=====================  ===============================================================================
``damon_tree``         folders, files and defaults below ``kdamonds``, by release (``scheme_tree``: of schemes)
``values``             how numbers, words and flags are parsed; ``nr_*`` files make all folders anew
``parameters``         what ``on`` and ``commit`` refuse, and with which errno (``scheme_parameters``: of schemes)
``slot``               ``state``, ``pid``, ``refresh_ms``; what ``on`` and ``off`` do; what updates show
``commands``           how long the other commands take, who is told EBUSY meanwhile, how they fail
``damon_sysfs``        DAMON's one lock; resizing ``nr_kdamonds``
``core``               who may run beside whom
``kdamond``            the monitoring loop: aggregation, schemes, tuning, updates, commit, its end
``targets``            regions, accesses and ages of one target; what schemes cut and what goes together again
``damos``              which schemes are due; what becomes of them over a commit; watermarks of all together
``schemes``            counters, access pattern and watermarks of one scheme
``passes``             one scheme's way through all regions
``charging``           quotas: windows, ``effective_bytes``, ``qt_exceeds`` (``goals``, ``scores``: what they follow)
``filters``            which regions and pages the filters of a scheme let through
``paddr``, ``vaddr``   which actions there are, and what they do
``walks``              what an update of tried regions collects
``tried_regions``      numbering of region folders
``tuning``             auto-tuning of the intervals
``modules``            damon_stat, damon_reclaim, damon_lru_sort (``reclaim``, ``lru_sort``: their schemes)
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
  least ``nr_regions/min`` of them; they are neither split at random nor merged but where schemes have cut them, and
  ``nr_regions/max`` is not enforced.
* Applying between aggregations sees the accesses of the last window, not a moving sum.
* Actions take no time, so that ``quotas/ms`` always buys 4 MiB a millisecond, as in a kernel that has not measured
  yet, and always succeed. Paged out memory does not come back until the test makes it anew; what is accessed does not
  leave. Migrated pages stay where they are. ``dests``, ``addr_unit`` and probes have files and are otherwise ignored.
* To schemes all of RAM is anonymous memory on LRU lists as long as the test has given no page owners; from then on
  only what these have there. A page is young, and active, if its region is accessed at all. All of what a process has
  mapped is its cgroup's anonymous memory, on node 0. Pages are small and mapped.
* Metrics of quota goals are what the test says (``set_goal_value``), by the free memory for that of nodes, and else
  exactly what is aimed at. On 6.12 a goal beside ``ms`` may be less than a page.
* On 6.12 modules copy their counters before they apply their schemes; here no kernel's are ever behind.
* vaddr monitors the mappings as they are, not joined into three regions.
* ``commit_inputs`` of modules, memory hotplug, pid and cgroup namespaces.
* Pages are whose and what the test says, whatever memory its processes have; all others are free. Large folios, the
  lists of free pages that each CPU has, page tables and the kernel's own pages do not show. A memory section without
  memory is a hole (6.12: NOPAGE, 7.3: no flags); the rest of one with memory is RESERVED (seen on 6.18).
* Cgroups are made and removed by the test and with their processes, not by mkdir(2) and rmdir(2). All of them have the
  memory controller. Version 1 is not there. A zombie's ``/proc/PID/cgroup`` does not say ``(deleted)``.
* ``/proc/self``, on purpose: whoever finds himself there takes its processes for this machine's, and would open their
  pidfds.
* Of the trace: hist triggers, text output, other events than ``damon_aggregated``, ``damon_monitor_intervals_tune``,
  ``damos_stat_after_apply_interval`` and ``damos_esz``. All trace clocks show CLOCK_MONOTONIC.
* flock(2) on ``state`` excludes nobody; on all other files it works.
"""

from damon_exporter.testing.fake_kernel.client import FakeKernel

__all__ = ["FakeKernel"]
