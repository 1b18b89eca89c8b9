"""Batches from worker processes, in order."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from compile.children import end_with
from zoo.data.augment import Augment
from zoo.data.base import Split
from zoo.errors import Unavailable, UsageError, ZooError

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One batch to load."""

    indices: Tensor
    """(B,) int64, into the split."""
    seed: int
    """Of its augmentation."""


def batches(
    split: Split, requests: Iterable[Request], *, augment: Augment | None, workers: int
) -> Iterator[Batch]:
    """Yields images (B, C, H, W) and labels (B,) for each request, in order.

    A split that decodes files uses `workers` processes. They live until the last request, work
    ahead by two batches each, and never change what is in a batch. Pixels in memory are handled in
    this process. `requests` is read ahead. A worker that dies is Unavailable.
    """
    if not 0 <= workers <= 256:
        raise UsageError(f"workers {workers} is out of range; use 0 to 256")
    return _batches(_Fetch(split, augment), requests, workers if split.decodes(augment) else 0)


class _Fetch(Dataset[Batch | ZooError]):
    """Takes a request and returns its batch, or the error of loading it.

    An exception in a worker would reach the user with the worker's traceback in its message.
    """

    def __init__(self, split: Split, augment: Augment | None) -> None:
        self._split = split
        self._augment = augment

    def __getitem__(self, request: Request) -> Batch | ZooError:
        try:
            images = self._split.load(request.indices, self._augment, request.seed)
        except ZooError as error:
            return error
        return images, self._split.labels[request.indices]


def _batches(fetch: _Fetch, requests: Iterable[Request], workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        fetch,
        batch_size=None,
        sampler=requests,
        num_workers=workers,
        collate_fn=_unchanged,
        # Without its own generator the loader would draw from the global random state.
        generator=torch.Generator(),
        worker_init_fn=_Start(os.getpid()) if workers else None,
        # Forked workers start in milliseconds and need no importable main module. They use one
        # thread and no GPU, so nothing that a fork breaks is used in them.
        multiprocessing_context="fork" if workers else None,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        iterator = iter(loader)
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker (pid" not in str(error):
                raise
            raise Unavailable(
                f"a process that loads images died ({' '.join(str(error).split())}); memory "
                "or /dev/shm may be full: use fewer workers or a smaller batch"
            ) from None
        if isinstance(batch, ZooError):
            raise batch
        yield batch


def _unchanged(batch: Any) -> Any:
    return batch


class _Start:
    """What a worker does first. It must not outlive its parent, nor get its parent's signals."""

    def __init__(self, parent: int) -> None:
        self._parent = parent

    def __call__(self, _worker: int) -> None:
        # Ctrl-C, torchrun and `timeout` signal the whole process group of the parent, and a worker
        # that dies takes the parent with it. In its own group it gets signals from the parent
        # alone. The parent ends it by SIGTERM, so that signal must not be ignored.
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        torch.set_num_threads(1)
        end_with(self._parent)
