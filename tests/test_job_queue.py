"""Jobs in line: one at a time, in order, watched and stopped from other threads."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from celebbasis_ext.errors import CelebBasisError
from celebbasis_ext.job_queue import KEPT, FreeTurn, Job, JobQueue, Progress, Report

PATIENCE = 10.0


class Gate:
    """Work that says when it has begun, and goes on when it is let."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, report: Report) -> str:
        self.begun.set()
        assert self.open.wait(PATIENCE)
        return "through"


def test_one_job_at_a_time_in_the_order_in_which_they_came() -> None:
    queue, order, running = JobQueue(), [], []

    def work(number: int, report: Report) -> None:
        running.append(number)
        assert len(running) == 1
        time.sleep(0.01)
        order.append(number)
        running.remove(number)

    jobs = [queue.order(str(i), "test", lambda report, i=i: work(i, report)) for i in range(5)]
    assert [queue.wait(job.id, PATIENCE).state for job in jobs] == ["done"] * 5
    assert order == list(range(5))


def test_a_job_is_queued_then_running_then_done() -> None:
    queue, first, second = JobQueue(), Gate(), Gate()
    one, two = queue.order("one", "test", first), queue.order("two", "test", second)
    assert first.begun.wait(PATIENCE)
    assert (queue[one.id].state, queue[two.id].state) == ("running", "queued")
    first.open.set()
    second.open.set()
    ended = queue.wait(two.id, PATIENCE)
    assert (ended.state, ended.result) == ("done", "through")
    assert ended.started is not None and ended.ended is not None
    assert one.ordered <= ended.started <= ended.ended


def test_progress_is_seen_from_outside() -> None:
    queue, seen, go = JobQueue(), threading.Event(), threading.Event()

    def work(report: Report) -> None:
        report.show(Progress("Learning", 3, 10, 7.0, (0.5, 0.4, 0.3)))
        seen.set()
        assert go.wait(PATIENCE)

    job = queue.order("watched", "test", work)
    assert seen.wait(PATIENCE)
    assert queue[job.id].progress == Progress("Learning", 3, 10, 7.0, (0.5, 0.4, 0.3))
    go.set()
    assert queue.wait(job.id, PATIENCE).progress.step == 3


def test_a_running_job_is_asked_to_stop_and_keeps_its_result() -> None:
    queue, begun = JobQueue(), threading.Event()

    def work(report: Report) -> str:
        begun.set()
        while not report.stop_wanted():
            time.sleep(0.005)
        return "what there was"

    job = queue.order("endless", "test", work)
    assert begun.wait(PATIENCE)
    queue.stop(job.id)
    ended = queue.wait(job.id, PATIENCE)
    assert (ended.state, ended.result) == ("stopped", "what there was")


def test_a_waiting_job_leaves_the_line_and_never_runs() -> None:
    queue, first, ran = JobQueue(), Gate(), []
    queue.order("first", "test", first)
    assert first.begun.wait(PATIENCE)
    second = queue.order("second", "test", lambda report: ran.append(1))
    third = queue.order("third", "test", lambda report: None)
    queue.stop(second.id)
    assert queue[second.id].state == "stopped"
    first.open.set()
    assert queue.wait(third.id, PATIENCE).state == "done"
    assert not ran


def test_errors_end_a_job_and_not_the_line() -> None:
    queue = JobQueue()

    def known(report: Report) -> None:
        raise CelebBasisError("No face.", "Another photo.")

    def unknown(report: Report) -> None:
        raise ZeroDivisionError("by zero")

    failed = [queue.wait(queue.order("x", "test", work).id, PATIENCE) for work in (known, unknown)]
    assert [job.state for job in failed] == ["failed", "failed"]
    told = [str(job.error) for job in failed]
    assert told == ["No face. Another photo.", "ZeroDivisionError: by zero The log has the details."]
    assert queue.wait(queue.order("next", "test", lambda report: 1).id, PATIENCE).result == 1


def test_the_host_is_taken_for_each_job_and_given_back_whatever_happens() -> None:
    log: list[str] = []

    class HostTurn(FreeTurn):
        def show(self, progress: Progress) -> None:
            log.append(progress.text)

        def stop_wanted(self) -> bool:
            return "Interrupt" in log

    @contextmanager
    def take_turn(job: Job) -> Iterator[HostTurn]:
        log.append(f"take for {job.title}")
        try:
            yield HostTurn()
        finally:
            log.append("give back")

    def fails(report: Report) -> None:
        report.show(Progress("working"))
        raise CelebBasisError("no")

    def interrupted(report: Report) -> None:
        log.append("Interrupt")

    queue = JobQueue(take_turn)
    assert queue.wait(queue.order("a", "test", fails).id, PATIENCE).state == "failed"
    assert log == ["take for a", "working", "give back"]
    assert queue.wait(queue.order("b", "test", interrupted).id, PATIENCE).state == "stopped"
    assert log[-1] == "give back"


def test_old_jobs_and_what_they_hold_are_forgotten() -> None:
    class Picture:
        """Something that a weak reference can follow."""

    queue, kept = JobQueue(), []

    def work(report: Report) -> Picture:
        picture = Picture()
        kept.append(weakref.ref(picture))
        return picture

    jobs = [queue.order(str(i), "test", work) for i in range(KEPT + 5)]
    queue.wait(jobs[-1].id, PATIENCE)
    assert len(queue.jobs()) == KEPT
    with pytest.raises(KeyError):
        queue[jobs[0].id]
    gc.collect()
    assert sum(reference() is not None for reference in kept) == KEPT


def test_no_thread_is_left_when_the_line_is_empty() -> None:
    queue = JobQueue()
    queue.wait(queue.order("x", "test", lambda report: None).id, PATIENCE)
    end = time.monotonic() + PATIENCE
    while any(thread.name == "celebbasis-jobs" for thread in threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(thread.name == "celebbasis-jobs" for thread in threading.enumerate())


def test_many_threads_may_order_watch_and_stop() -> None:
    queue, ended = JobQueue(), []

    def somebody(number: int) -> None:
        for i in range(5):
            job = queue.order(f"{number}/{i}", "test", lambda report: report.show(Progress("x")))
            queue.jobs()
            if i % 2:
                queue.stop(job.id)
            ended.append(queue.wait(job.id, PATIENCE).state)

    threads = [threading.Thread(target=somebody, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(ended) == 15
    assert set(ended) <= {"done", "stopped"}
