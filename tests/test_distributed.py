"""Several ranks give what one process gives; and where one of them fails, ends or does not come, all end and say so."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ranks

from ganeval.cli.main import main
from ganeval.distributed import ONE, Group, joined
from ganeval.engine.sharding import Order, gathered_rows, summed_moments
from ganeval.errors import ConfigError
from ganeval.statistics.moments import Moments

PATIENT = {"GANEVAL_RANK_TIMEOUT": "6000"}  # ranks that wait for another one outlast the limit of ``ranks.launch``


def difference(a: Any, b: Any, where: str = "", *, relative: float = 1e-10) -> list[str]:
    """Where two documents differ, numbers by more than a share of their size, those of images of the largest one."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [f"{where}.{k}" for k in a.keys() ^ b.keys()]
        return keys + [
            one for k in a.keys() & b.keys() for one in difference(a[k], b[k], f"{where}.{k}", relative=relative)
        ]
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return [f"{where}: {len(a)} against {len(b)}"]
        if a and all(isinstance(x, float) for x in (*a, *b)):
            scale = max(map(abs, a))
            return [f"{where}[{i}]: {x!r} against {y!r}" for i, (x, y) in enumerate(zip(a, b, strict=True))
                    if not abs(x - y) <= relative * scale + 1e-12]  # fmt: skip
        return [
            one
            for i, (x, y) in enumerate(zip(a, b, strict=True))
            for one in difference(x, y, f"{where}[{i}]", relative=relative)
        ]
    if isinstance(a, float) and isinstance(b, float):
        return [] if math.isclose(a, b, rel_tol=relative, abs_tol=1e-12) else [f"{where}: {a!r} against {b!r}"]
    return [] if a == b else [f"{where}: {a!r} against {b!r}"]


def equal_one_process(scenario: str, folder: Path, size: int, relative: float = 1e-10) -> None:
    expected = json.loads(json.dumps(ranks.SCENARIOS[scenario](folder)))
    ended = ranks.launch(scenario, folder, size)
    assert [code for code, _ in ended] == [0] * size, ended
    found = [json.loads((folder / f"{scenario}-{rank}.json").read_text()) for rank in range(size)]
    assert all(one == found[0] for one in found)  # every rank has the same, to the last bit
    assert difference(found[0], expected, relative=relative) == []


@pytest.mark.nightly
@pytest.mark.parametrize("size", [2, 4])
def test_every_metric_against_one_process(tmp_path: Path, size: int) -> None:
    equal_one_process("every_metric", tmp_path, size)


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.nightly)])
def test_loop_against_one_process(tmp_path: Path, size: int) -> None:
    equal_one_process("loop", tmp_path, size)


@pytest.mark.nightly
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("scenario", ["folders", "pairs", "other_sources", "wavelets"])
def test_sources_against_one_process(tmp_path: Path, scenario: str, size: int) -> None:
    if scenario == "folders":
        ranks.folders_for(tmp_path)
    if scenario == "pairs":
        ranks.pairs_for(tmp_path)
    # float32 networks round by the size of the batch, of which each rank has its own last one
    equal_one_process(scenario, tmp_path, size, {"pairs": 1e-6, "other_sources": 1e-8}.get(scenario, 1e-10))


@pytest.mark.nightly
def test_one_rank_alone(tmp_path: Path) -> None:
    expected = json.loads(json.dumps(ranks.apart(tmp_path)))
    assert [code for code, _ in ranks.launch("apart", tmp_path, 2)] == [0, 0]
    assert json.loads((tmp_path / "apart-0.json").read_text()) == expected


def test_sums_gathers_and_ranks_at_different_calls(tmp_path: Path) -> None:
    assert [code for code, _ in ranks.launch("talk", tmp_path, 3)] == [0, 0, 0]
    found = [json.loads((tmp_path / f"talk-{rank}.json").read_text()) for rank in range(3)]
    assert [sums for sums, _ in found] == [[[6.0, 6.0], 3, 1.5]] * 3
    assert found[0][1].startswith("rank 0 is at another call, rank 1 at one call: every rank must make the same calls")
    assert found[1][1].startswith("rank 1 is at one call, rank 0 at another call")


def test_a_rank_that_fails_ends_all_with_its_message(tmp_path: Path) -> None:
    ended = ranks.launch("fails", tmp_path, 2, **PATIENT)
    assert [code for code, _ in ended] == [1, 1]
    assert "spoilt" in ended[1][1]
    assert "RankError: rank 1 failed: input: ndarray 150x12x12x3 has an image that cannot be used" in ended[0][1]


def test_a_rank_that_is_killed_ends_all_and_nobody_waits(tmp_path: Path) -> None:
    (zero, err), (one, _), (two, _) = ranks.launch("killed", tmp_path, 3, **PATIENT)
    assert (zero, one, two) == (1, -9, 1)
    assert "RankError: rank" in err
    assert "ended before real images" in err


@pytest.mark.nightly
def test_a_rank_that_does_not_come_is_named(tmp_path: Path) -> None:
    (zero, err), _ = ranks.launch("absent", tmp_path, 2)
    assert zero == 1
    assert "RankError: rank 1 did not come to compute within 8 s. Every rank must make this call" in err
    assert "sync=False" in err


def test_torchrun_of_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the first rank writes, on stdout and in files; the numbers are those of one process."""
    real, fake = ranks.image_sets()
    np.save(tmp_path / "real.npy", real)
    np.save(tmp_path / "fake.npy", fake)
    sides = [str(tmp_path / "real.npy"), str(tmp_path / "fake.npy")]
    options = [
        "--protocol",
        "compact",
        "--device",
        "cpu",
        "--json",
        "--metrics",
        "fid,precision,fwd",
        "--wavelet-level",
        "2",
        "--batch-size",
        "16",
    ]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)

    several = run(*torchrun, "-m", "ganeval", "eval", *sides, *options, "-o", str(tmp_path / "out.json"))
    assert several.returncode == 0, several.stderr
    document = json.loads(several.stdout)  # exactly one
    assert document["environment"]["ranks"] == 2
    assert json.loads((tmp_path / "out.json").read_text())["results"] == document["results"]
    assert main(["eval", *sides, *options]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert difference(document["results"], expected["results"]) == []
    assert difference(document["fake"], expected["fake"]) == []
    assert several.stderr.count("is a small network that sees texture and coarse shape only") == 1


@pytest.mark.nightly
def test_torchrun_of_a_program_that_fails(tmp_path: Path) -> None:
    """One of the ranks says so."""
    np.save(tmp_path / "real.npy", ranks.image_sets()[0])
    sides = [str(tmp_path / "real.npy"), str(tmp_path / "missing.npy")]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "ganeval", "eval", *sides, "--protocol", "compact", "--device", "cpu", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    broken = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)
    assert broken.returncode != 0
    assert json.loads(broken.stdout)["error"]["kind"] == "input"
    assert broken.stderr.count("error: No such file or folder") == 1


# --- without other processes -------------------------------------------------------------------------------------


def test_one_process_is_a_group_of_one() -> None:
    with joined() as group:
        assert group is ONE
    assert ONE.share(7) == slice(0, 7)
    array = np.arange(3.0)
    assert ONE.sums([array], "x")[0] is array
    assert ONE.gather(array, "x")[0] is array
    ONE.agree("x")
    with pytest.raises(KeyError), ONE.together("x"):
        raise KeyError


def test_shares_are_everything_once() -> None:
    for n in (0, 1, 3, 4, 11):
        shares = [np.arange(n)[Group(rank, 4).share(n)] for rank in range(4)]
        np.testing.assert_array_equal(np.concatenate(shares), np.arange(n))


def test_timeout_iv(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    for text in ("soon", "0", "inf", "nan"):
        monkeypatch.setenv("GANEVAL_RANK_TIMEOUT", text)
        with pytest.raises(ConfigError, match=f"GANEVAL_RANK_TIMEOUT.*{text}"), joined():
            pass


@pytest.mark.parametrize(
    ("set_by_the_program", "cards", "backend"),
    [(None, 4, "cpu:gloo,cuda:nccl"), (3, 4, "cpu:gloo,cuda:nccl"), (None, 2, "gloo")],
)
def test_a_rank_computes_on_a_gpu_of_its_own(
    set_by_the_program: int | None, cards: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pretended cards: of four ranks the third takes card 2, where there is one, and what the program set stays."""
    import torch
    import torch.distributed as dist

    from ganeval import distributed
    from ganeval.features.devices import choose_device

    if set_by_the_program is not None and cards < 4:
        pytest.skip("there is no such card")
    rank = {
        "RANK": "2",
        "LOCAL_RANK": "2",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "127.0.0.1",
    }
    for name, value in rank.items():
        monkeypatch.setenv(name, value)
    made: list[str] = []
    entered: list[int] = []

    @contextlib.contextmanager
    def device(index: int) -> Iterator[None]:
        entered.append(index)
        yield
        entered.append(-1)

    for name, value in {
        "is_available": lambda: True, "device_count": lambda: cards, "is_initialized": lambda: bool(set_by_the_program),
        "current_device": lambda: set_by_the_program or 0, "device": device,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(distributed, "_make_group", lambda backend, seconds: made.append(backend))
    monkeypatch.setattr(distributed, "_control_group", lambda seconds: None)
    for name, value in {
        "get_rank": lambda: 2, "get_world_size": lambda: 4, "get_backend_config": lambda: made[-1],
        "destroy_process_group": lambda: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(dist, name, value)
    own = set_by_the_program or 2 % cards
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", own)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with distributed.joined() as group:
        assert entered == [own]
        assert group._device == (torch.device("cuda", own) if "nccl" in backend else None)
    assert made == [backend]
    assert entered == [own, -1]
    for name in rank:
        monkeypatch.delenv(name)
    assert choose_device("auto") == torch.device("cuda")


class Pretended:
    """A group whose other ranks are arrays."""

    def __init__(self, rank: int, others: list[list[np.ndarray]]) -> None:
        self.rank, self._others = rank, others

    def gather(self, array: np.ndarray, call: str) -> list[np.ndarray]:
        parts = [one.pop(0) for one in self._others]
        parts.insert(self.rank, array)
        return parts


def test_rows_are_gathered_in_the_order_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganeval.engine import sharding as sharing
    from ganeval.statistics.rows import FeatureRows

    order = Order([np.array([[0, 0, 3], [0, 2, 2]]), np.array([[0, 1, 4], [1, 0, 1]])])
    assert order.n == 10
    assert list(order.runs()) == [(0, slice(0, 3)), (1, slice(0, 4)), (0, slice(3, 5)), (1, slice(4, 5))]
    monkeypatch.setattr(sharing, "_WINDOW", 4 * 2 * 5)  # five rows
    with FeatureRows(2) as rows:
        mine = np.arange(10, dtype=np.float32).reshape(5, 2)
        rows.append(mine)
        theirs = -np.arange(1, 11, dtype=np.float32).reshape(5, 2)
        group = Pretended(0, [[theirs[:2], theirs[2:5]]])
        blocks = list(gathered_rows(rows, order, group, "x"))  # type: ignore[arg-type]
    whole = np.concatenate([mine[:3], theirs[:4], mine[3:], theirs[4:]])
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert [len(block) for block in blocks] == [3, 2, 2, 2, 1]


def test_moments_of_ranks_without_images_add_nothing() -> None:
    x = np.random.default_rng(0).standard_normal((50, 3)) + 5
    full, empty = Moments(3), Moments(3)
    full.update(x)

    class Both:
        def gather(self, array: np.ndarray, call: str) -> list[np.ndarray]:
            return [np.empty((0, 3)), array if len(array) else full.shift[None]]  # type: ignore[index]

        def sums(self, arrays: list[np.ndarray], call: str) -> list[np.ndarray]:
            state = full.to_arrays()
            return [a + state[name] for a, name in zip(arrays, ("n", "sum", "outer"), strict=True)]

    summed = summed_moments(empty, Both(), "x")  # type: ignore[arg-type]
    np.testing.assert_allclose(summed.finish().covariance, full.finish().covariance, rtol=1e-14)
    assert empty.n == 0
