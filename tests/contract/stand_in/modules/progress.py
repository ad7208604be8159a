from __future__ import annotations

current_task: str | None = None
pending_tasks: dict[str, bool] = {}
finished_tasks: list[str] = []


def add_task_to_queue(id_job: str) -> None:
    pending_tasks[id_job] = True


def start_task(id_task: str) -> None:
    global current_task
    current_task = id_task
    pending_tasks.pop(id_task, None)


def finish_task(id_task: str) -> None:
    global current_task
    current_task = None
    finished_tasks.append(id_task)
