"""The page of metrics, of one process or of all that share PROMETHEUS_MULTIPROC_DIR, and its server for workers."""

import os
import platform
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from api import metrics
from api.settings import Settings


def directory() -> Path | None:
    """Where the processes of this service put their numbers, none if this one is alone."""
    path = os.environ.get(metrics.MULTIPROC)
    return Path(path) if path else None


def prepare(path: Path) -> None:
    """Empties the directory of what an earlier start left, and names it to the processes that are started from here."""
    path.mkdir(parents=True, exist_ok=True)
    for file in path.glob("*.db"):
        if pid_of(file) != os.getpid():
            file.unlink(missing_ok=True)
    os.environ[metrics.MULTIPROC] = str(path)


def pid_of(file: Path) -> int:
    """The process that writes a file of the directory, named `kind_pid.db`."""
    digits = file.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0


def alive(pid: int) -> bool:
    """Whether a process runs; one of another user does."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def living(path: Path) -> list[int]:
    """The processes that write to the directory.

    What the others counted stays; their live gauges, which say how things are, are removed.
    """
    found = {pid_of(file) for file in path.glob("*.db")} - {0}
    for pid in found:
        if not alive(pid):
            mark_process_dead(pid, str(path))  # type: ignore[no-untyped-call]
    return sorted(pid for pid in found if alive(pid))


def process_families(pids: list[int]) -> Iterator[Metric]:
    """Memory, processor time and threads of processes, read from /proc; nothing where there is no /proc.

    Source of the fields: proc_pid_stat(5), fields 14, 15, 20, 22 and 24.
    """
    memory = GaugeMetricFamily("process_resident_memory_bytes", "Memory in use.", labels=["pid"])
    cpu = CounterMetricFamily("process_cpu_seconds_total", "Processor time, user and system.", labels=["pid"])
    threads = GaugeMetricFamily("process_threads", "Threads.", labels=["pid"])
    files = GaugeMetricFamily("process_open_fds", "Open files and sockets.", labels=["pid"])
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for pid in pids:
        try:
            # The second field is the command in parentheses and may hold blanks, so counting starts after it.
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            open_files = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
        label = [str(pid)]
        cpu.add_metric(label, (int(stat[11]) + int(stat[12])) / ticks)
        threads.add_metric(label, int(stat[17]))
        memory.add_metric(label, int(stat[21]) * page)
        files.add_metric(label, open_files)
    yield from (memory, cpu, threads, files)


def backup_age(found: Iterable[Metric]) -> Metric:
    """Seconds since the last good backup of each database."""
    age = GaugeMetricFamily("cashflow_backup_age_seconds", "Time since the last good backup.", labels=["database"])
    for family in found:
        if family.name == "cashflow_backup_last_success_timestamp_seconds":
            for sample in family.samples:
                age.add_metric([sample.labels["database"]], max(0.0, time.time() - sample.value))
    return age


class Page(Collector):
    """All that is declared in api/metrics.py, beside what is read when the page is asked for."""

    def __init__(self, version: str) -> None:
        self.build = GaugeMetricFamily(
            "cashflow_build_info", "The version that runs, as labels of a one.", labels=["version", "python"]
        )
        self.build.add_metric([version, platform.python_version()], 1)

    def collect(self) -> Iterator[Metric]:
        path = directory()
        found = {family.name: family for family in metrics.REGISTRY.collect()}
        pids = [os.getpid()]
        if path is not None:
            pids = living(path)
            # What no process has counted yet is declared nevertheless.
            for family in found.values():
                family.samples = []
            shared = MultiProcessCollector(None, str(path))  # type: ignore[no-untyped-call]
            found |= {family.name: family for family in shared.collect()}  # type: ignore[no-untyped-call]
        yield from found.values()
        yield from process_families(pids)
        yield backup_age(found.values())
        yield self.build


def page_registry(version: str) -> CollectorRegistry:
    """A registry whose text is the page."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page(version))
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """The page in the text format that Prometheus reads (version 0.0.4)."""
    return generate_latest(registry)


def expose_children(settings: Settings, version: str) -> None:
    """Serves the page of the worker processes that this one starts from now on, on WORKER_METRICS_PORT if it is set."""
    if settings.worker_metrics_port is None:
        return
    base = Path(settings.prometheus_multiproc_dir or settings.state_dir)
    prepare((base / f"metrics-worker-{settings.worker_metrics_port}").resolve())
    serve_worker_metrics(settings.worker_metrics_port, version)


def serve_worker_metrics(port: int, version: str, address: str = "0.0.0.0") -> tuple[WSGIServer, Thread]:
    """The server of the page, of this process or of its children, on a port of its own, and the thread it runs in."""
    return start_http_server(port, addr=address, registry=page_registry(version))
