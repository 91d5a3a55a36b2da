"""What happens, counted for Prometheus; each application counts for itself."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "catenary_requests", "Requests by route, method and status", ["route", "method", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "catenary_request_seconds", "Time to the first byte of an answer", ["route"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._submitted = Counter("catenary_jobs_submitted", "Jobs taken", ["kind"], registry=self.registry)
        self._ended = Counter("catenary_jobs_ended", "Jobs ended", ["kind", "status"], registry=self.registry)
        self._work = Histogram(
            "catenary_job_work_seconds", "Time from a job's start to its end", ["kind"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._wait = Histogram(
            "catenary_job_seconds", "Time from a job's arrival to its end", ["kind"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._batch = Histogram(
            "catenary_batch_images", "Images that shared a batch", buckets=(1, 2, 3, 4, 6, 8), registry=self.registry
        )
        self._deaths = Counter("catenary_worker_deaths", "Workers that ended or were stopped", registry=self.registry)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Show a value that is asked for whenever somebody looks."""
        Gauge(f"catenary_{name}", what, registry=self.registry).set_function(value)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def submitted(self, kind: str) -> None:
        """Count a new job."""
        self._submitted.labels(kind).inc()

    def ended(self, kind: str, status: str, work: float, whole: float) -> None:
        """Count the end of a job: seconds of work, and from its arrival."""
        self._ended.labels(kind, status).inc()
        self._work.labels(kind).observe(work)
        self._wait.labels(kind).observe(whole)

    def batched(self, images: int) -> None:
        """Count a batch."""
        self._batch.observe(images)

    def worker_died(self) -> None:
        """Count the end of a worker."""
        self._deaths.inc()

    def page(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self.registry)
