"""Starting workers: one per GPU, shares of the cores, their lines, and what becomes of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from exme.search.cli.processes import Share, run_workers, shares, visible_gpus
from exme.search.merging.sources.weight_files import Reader
from exme.tasks.errors import UserError

NOTHING: dict[str, str] = {}


def test_every_worker_has_a_gpu_of_its_own() -> None:
    found = shares(4, ["0", "1", "2", "3"], 16, NOTHING)
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in found] == ["0", "1", "2", "3"]
    assert [s.words for s in found] == ["GPU 0", "GPU 1", "GPU 2", "GPU 3"]
    assert {s.environment["OMP_NUM_THREADS"] for s in found} == {"4"}


def test_more_workers_than_gpus_take_turns_on_them() -> None:
    found = shares(5, ["GPU-a", "GPU-b"], 4, NOTHING)
    assert [s.environment["CUDA_VISIBLE_DEVICES"][-1] for s in found] == list("ababa")
    assert {s.environment["OMP_NUM_THREADS"] for s in found} == {"1"}  # one at least


def test_workers_that_share_a_model_have_gpus_of_their_own() -> None:
    found = shares(2, ["0", "1", "2", "3", "4"], 16, NOTHING, each=2)
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in found] == ["0,1", "2,3"]
    assert [s.words for s in found] == ["GPUs 0, 1", "GPUs 2, 3"]
    with pytest.raises(UserError, match=r"2 GPUs each .* are 6, there are 5; start 2"):
        shares(3, ["0", "1", "2", "3", "4"], 16, NOTHING, each=2)


def test_without_gpus_the_cores_are_divided_and_what_is_set_stays() -> None:
    (first, *_) = shares(3, [], 8, NOTHING)
    assert first.environment == {
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",
    }
    assert first.words == "2 CPU threads"
    (own, *_) = shares(3, [], 8, {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "active"})
    assert own.environment == {"MKL_NUM_THREADS": "2"}
    assert own.words == "5 CPU threads"


@pytest.mark.parametrize(
    ("visible", "count", "expected"),
    [
        (None, 3, ["0", "1", "2"]),
        ("4,6", 2, ["4", "6"]),
        ("GPU-8f, GPU-1c", 2, ["GPU-8f", "GPU-1c"]),
        ("2,7", 1, ["2"]),  # torch sees one of them
        ("", 0, []),
    ],
)
def test_gpus_go_by_the_names_that_the_scheduler_gave(
    visible: str | None, count: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus("auto") == expected
    assert visible_gpus("cpu") == []


@pytest.mark.gpu
def test_a_worker_sees_its_gpu_and_no_other() -> None:
    said: list[str] = []
    code = (
        "import torch; print('#', torch.cuda.device_count(), torch.ones(1, device='cuda').item())"
    )
    parts = shares(2, visible_gpus("auto"), 2, os.environ)
    assert run_workers([], parts, said.append, [sys.executable, "-c", code]) == [0, 0]
    assert sorted(said) == ["[1] # 1 1.0", "[2] # 1 1.0"]


def start(code: str, said: list[str], count: int = 2) -> list[int]:
    parts = [Share({"WHO": str(i)}, "a share") for i in range(count)]
    return run_workers([], parts, said.append, [sys.executable, "-c", code])


def test_lines_carry_their_workers_number_and_what_all_say_is_shown_once() -> None:
    said: list[str] = []
    code = (
        "import os; print('This will take about an hour'); print('#' + os.environ['WHO'], 'done')"
    )
    assert start(code, said, 3) == [0, 0, 0]
    assert sorted(line for line in said if "#" in line) == [
        "[1] #0 done",
        "[2] #1 done",
        "[3] #2 done",
    ]
    assert sum("an hour" in line for line in said) == 1


def test_a_worker_that_dies_is_named_and_the_others_go_on() -> None:
    said: list[str] = []
    code = (
        "import os, signal, time\n"
        "if os.environ['WHO'] == '0': os.kill(os.getpid(), signal.SIGKILL)\n"
        "time.sleep(0.5); print('# still here')"
    )
    assert start(code, said) == [-signal.SIGKILL, 0]
    assert "[1] ended with signal SIGKILL; its trial is taken up again." in said
    assert "[2] # still here" in said


def test_a_signal_to_the_one_that_started_them_reaches_every_worker(tmp_path: Path) -> None:
    said: list[str] = []
    code = (
        "import os, time; from pathlib import Path\n"
        f"place = Path({str(tmp_path)!r})\n"
        "try:\n    print('# begun', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    (place / os.environ['WHO']).touch()\n"
    )

    def interrupt() -> None:
        while len(said) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            start(code, said)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_mapped_weights_are_the_page_caches_own_and_so_shared(tmp_path: Path) -> None:
    maps = Path("/proc/self/smaps")
    if not maps.exists():
        pytest.skip("no /proc/self/smaps here: not Linux")
    import torch
    from safetensors.torch import save_file

    file = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(2**20)}, file)
    weights = Reader().tensor(file, "w")
    assert float(weights.sum()) == 2**20  # every page is touched
    sizes: dict[str, int] = {}
    is_ours = False
    for line in maps.read_text().splitlines():
        if "-" in line.split()[0]:
            is_ours = line.endswith(str(file))
        elif is_ours:
            key, size, *_ = line.split()
            sizes[key] = sizes.get(key, 0) + (int(size) if size.isdigit() else 0)
    assert sizes["Rss:"] >= 4 * 2**10  # KiB: they are here,
    assert sizes["Anonymous:"] == 0  # and none was copied for this process


@pytest.mark.parametrize("count", [0, 257])
def test_a_number_of_workers_that_is_a_slip_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"expected 1 to 256, found {count}"):
        run_workers([], [Share({}, "")] * count, print)
