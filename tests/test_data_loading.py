"""Loading: the same batches with any number of workers, which end, and say what went wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from zoo.data import Augment, Data, Request, Split, batches, load
from zoo.data import folder as folder_module
from zoo.errors import BadArtifact, Unavailable, UsageError

EVERYTHING = Augment(
    shift=2, flip=True, area=(0.2, 1.0), policy="randaugment-m7-n2-mstd0.5", erase=0.3
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight JPEGs each, crops of two photographs."""
    root = tmp_path_factory.mktemp("photos")
    for name in ("china", "flower"):
        (root / name).mkdir()
        photo = Image.fromarray(load_sample_image(f"{name}.jpg"))
        for number in range(8):
            crop = photo.crop((40 * number, 20 * number, 40 * number + 320, 20 * number + 240))
            crop.save(root / name / f"{number}.jpg")
    return root


@pytest.fixture
def decoded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    """The photographs as a set that is too large for memory."""
    monkeypatch.setattr(folder_module, "KEPT_BYTES", 0)
    return load(str(photos), size=48)


def requests(count: int = 5) -> list[Request]:
    draw = torch.Generator().manual_seed(0)
    return [
        Request(indices=torch.randint(12, (6,), generator=draw), seed=100 + number)
        for number in range(count)
    ]


def all_of(split: Split, augment: Augment | None, workers: int) -> list[tuple[Tensor, Tensor]]:
    return list(batches(split, iter(requests()), augment=augment, workers=workers))


@pytest.mark.parametrize("augment", [None, EVERYTHING])
def test_workers_never_change_a_bit(decoded: Data, augment: Augment | None) -> None:
    none, one, two = (all_of(decoded.train, augment, workers) for workers in (0, 1, 2))
    assert len(none) == 5
    for (images, labels), *others in zip(none, one, two, strict=True):
        assert images.shape == (6, 3, 48, 48)
        for other_images, other_labels in others:
            assert torch.equal(images, other_images)
            assert torch.equal(labels, other_labels)
    for (images, labels), request in zip(none, requests(), strict=True):
        assert torch.equal(images, decoded.train.load(request.indices, augment, request.seed))
        assert torch.equal(labels, decoded.train.labels[request.indices])


@pytest.mark.parametrize("augment", [None, EVERYTHING, Augment(policy="trivialaugment", flip=True)])
def test_what_is_kept_in_memory_has_the_same_bits(
    photos: Path, decoded: Data, augment: Augment | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "KEPT_BYTES", 2**29)
    kept = load(str(photos), size=48)
    assert decoded.train.decodes(augment)
    assert kept.train.decodes(augment) == bool(augment and augment.area)
    assert kept.preprocessing == decoded.preprocessing
    indices = torch.tensor([3, 3, 0])
    assert torch.equal(
        kept.train.load(indices, augment, 9), decoded.train.load(indices, augment, 9)
    )
    assert torch.equal(kept.test.tensors()[0], decoded.test.tensors()[0])


def test_the_global_random_state_is_neither_used_nor_changed(decoded: Data) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = all_of(decoded.train, EVERYTHING, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert torch.equal(all_of(decoded.train, EVERYTHING, 1)[0][0], first[0][0])


class Probe(Split):
    """A split that tells of the process it is loaded in, or ends it."""

    def __init__(self, *, on_disk: bool = True, fatal: bool = False) -> None:
        self.labels = torch.zeros(12, dtype=torch.int64)
        self._on_disk = on_disk
        self._fatal = fatal

    def decodes(self, augment: Augment | None) -> bool:
        return self._on_disk

    def load(self, indices: Tensor, augment: Augment | None = None, seed: int = 0) -> Tensor:
        if self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        ignores = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        return torch.tensor([os.getpid(), ignores, torch.get_num_threads()])


def test_a_worker_has_one_thread_and_leaves_interrupts_to_its_parent() -> None:
    found = [images.tolist() for images, _ in all_of(Probe(), None, 2)]
    assert len({pid for pid, _, _ in found}) == 2
    assert os.getpid() not in {pid for pid, _, _ in found}
    assert {(ignores, threads) for _, ignores, threads in found} == {(1, 1)}


def test_what_is_in_memory_needs_no_worker() -> None:
    found = all_of(Probe(on_disk=False), None, 2)
    assert {int(images[0]) for images, _ in found} == {os.getpid()}
    assert not load("digits").train.decodes(EVERYTHING)


def test_workers_end_with_the_last_batch_and_with_a_loop_that_is_left() -> None:
    finished = {int(images[0]) for images, _ in all_of(Probe(), None, 2)}
    left = batches(Probe(), requests(), augment=None, workers=1)
    pid = int(next(left)[0][0])
    assert running(pid)
    left.close()  # type: ignore[attr-defined]
    assert all(ended(each) for each in (*finished, pid))


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    script = """
import signal, sys
sys.path.insert(0, "tests")
from test_data_loading import Probe, batches, requests
found = batches(Probe(), requests(), augment=None, workers=1)
print(int(next(found)[0][0]), flush=True)
signal.pause()
"""
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert ended(pid)


def running(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ended(pid: int) -> bool:
    """Poll another process until it ends, for three seconds; torch's own workers take five."""
    deadline = time.monotonic() + 3
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not running(pid)


def test_a_worker_that_is_killed_is_one_line() -> None:
    with pytest.raises(Unavailable, match=r"a process that loads images died .*fewer workers") as e:
        all_of(Probe(fatal=True), None, 1)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_vanishes_is_named_in_one_line(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "KEPT_BYTES", 0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    train = load(str(tmp_path), size=8).train
    for file in tmp_path.glob("a/*"):
        file.unlink()
    with pytest.raises(BadArtifact, match=r"a/\d\.png: no such image file$") as error:
        all_of(train, None, workers)
    assert "\n" not in str(error.value), "no traceback of a worker"


@pytest.mark.parametrize("workers", [-1, 257])
def test_a_number_of_workers_out_of_range_is_refused(workers: int) -> None:
    with pytest.raises(UsageError, match=f"workers {workers} is out of range; use 0 to 256"):
        batches(Probe(), [], augment=None, workers=workers)


def test_a_loader_that_nobody_finished_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    """At its exit a process ends its workers by SIGTERM and waits for them."""
    make_folder = "for c in 'ab':\n (root / c).mkdir()\n for n in range(9):\n"
    script = (
        "import sys, torch\nfrom pathlib import Path\nfrom PIL import Image\n"
        "from zoo.data import Augment, Request, batches, load\n"
        f"root = Path(sys.argv[1])\n{make_folder}"
        "  Image.new('RGB', (8, 8), (n, n, n)).save(root / c / f'{n}.png')\n"
        "split = load(str(root), size=8).train\n"
        "requests = [Request(indices=torch.arange(4), seed=n) for n in range(99)]\n"
        "left = batches(split, requests, augment=Augment(area=(0.5, 1.0)), workers=1)\n"
        "next(left)\n"
        "import builtins\nbuiltins.left = left\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    subprocess.run(command, check=True, env=environment, timeout=60)
