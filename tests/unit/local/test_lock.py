"""Locks of jobs: who holds one, and who merely looks."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from sagemaker_sift.backends.local import lock as lock_module
from sagemaker_sift.backends.local.lock import acquire_lock, is_locked


def take(path: Path) -> int:
    descriptor = acquire_lock(path)
    assert descriptor is not None
    return descriptor


def test_a_lock_is_held_by_one_and_free_after_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    assert not path.exists()  # who looks leaves nothing
    descriptor = take(path)
    assert is_locked(path)
    assert acquire_lock(path) is None
    os.close(descriptor)
    assert not is_locked(path)


def test_those_who_look_do_not_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    os.close(take(path))
    seen: list[bool] = []
    threads = [
        threading.Thread(target=lambda: seen.extend(is_locked(path) for _ in range(300)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1200
    assert not any(seen)


def test_the_lock_of_a_file_that_was_deleted_meanwhile_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    real, opened = os.open, []

    def open_then_lose(*arguments: object, **options: object) -> int:
        descriptor = real(*arguments, **options)  # type: ignore[arg-type]
        opened.append(descriptor)
        if len(opened) == 1:
            path.unlink()  # as the process does whose job ends now
        return descriptor

    lock_module.os.open = open_then_lose  # type: ignore[attr-defined,assignment]
    try:
        descriptor = take(path)
    finally:
        lock_module.os.open = real  # type: ignore[attr-defined]
    assert len(opened) == 2
    assert os.path.samestat(os.fstat(descriptor), path.stat())
    assert is_locked(path)
    os.close(descriptor)


def test_a_lock_is_taken_although_others_look_at_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    os.close(take(path))
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.005):  # far more often than any client looks
            is_locked(path)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            os.close(take(path))
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
