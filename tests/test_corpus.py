"""`just corpus`: networks whose truth is known, and a slice of those that nobody here wrote."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import pytest
import torch

from compile.backends import BACKENDS
from compile.precision import PRECISIONS
from results.corpus import generated, jobs
from results.corpus.generator import generate
from results.corpus.jobs import Job, all_jobs, together
from results.corpus.judging import RIGHT, judged
from results.corpus.row import Bench
from results.corpus.timm_choice import LARGEST, LIST, MOST_PARAMETERS
from tests.networks import NETWORKS


def found(part: str, network: str, backend: str, precision: str = "fp32") -> dict[str, Any]:
    bench = Bench(threads=torch.get_num_threads())
    return bench.run(Job(part=part, network=network, seed=0, backend=backend, precision=precision))


def test_each_network_has_a_truth() -> None:
    kinds = [row.truth.partition(":")[0] for row in NETWORKS.values()]
    assert set(kinds) == {"sound", "refuse", "either"}
    assert min(kinds.count("sound"), kinds.count("refuse")) >= 50
    for name, row in NETWORKS.items():
        assert row.make.__doc__, name
        assert (row.truth == "sound") is (": " not in row.truth), name
        for place in row.where:
            backend, _, precision = place.partition(" ")
            assert backend in BACKENDS and precision in ("", *PRECISIONS), name
    pool = NETWORKS["padded_pool_rounded_up"]
    assert pool.truth_for("openvino") == pool.truth_for("onnx", "int8") == "refuse"
    assert pool.truth_for("onnx") == pool.truth_for("inductor", "int8") == "sound"


def test_a_network_depends_on_its_seed_alone() -> None:
    one, again, other = (NETWORKS["attention"].build(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(one["last.weight"], other["last.weight"])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_sound_network_passes_and_a_wrong_one_does_not(name: str) -> None:
    row = found("a", name, "torchscript")
    assert judged(row) == RIGHT, f"{NETWORKS[name].truth}: {row['built']}, {row['failures']}"


@pytest.mark.parametrize(
    ("part", "network", "backend", "precision"),
    [
        ("a", "other_when_exported", "onnx", "fp32"),
        ("a", "blocks_by_strides", "onnx", "fp32"),
        ("a", "ensemble_by_vmap", "onnx", "fp32"),
        ("b", "test_vit", "torchscript", "fp32"),
        ("b", "repghostnet_050", "torchscript", "fp32"),
        ("c", "resnet20", "openvino", "fp32"),
        ("c", "plain20", "torchscript", "fp32"),
        ("d", "random-0", "torchscript", "fp32"),
        ("d", "random-1", "torchscript", "fp32"),
        ("d", "random-2", "onnx", "int8"),
        ("a", "gated_units", "onnx", "int8"),
        ("a", "odd_kernels", "openvino", "int8"),
        ("a", "places_through_dropout", "onnx", "int8"),
        ("a", "written_in_place", "onnx", "int8"),
    ],
)
def test_a_slice_of_the_other_parts(part: str, network: str, backend: str, precision: str) -> None:
    row = found(part, network, backend, precision)
    assert judged(row) == RIGHT, (row["built"], row["failures"], row.get("truth"))
    assert len(row["rmse"]) == len(row["bound"]) == len(row["kinds"]) == len(row["e_eager"])


def test_the_ways_of_pytorch_are_rows_too() -> None:
    row = found("c", "resnet20", jobs.WAYS)
    assert row["built"] == "measured" and len(row["ways"]) == 9
    for errors in row["ways"].values():
        assert len(errors) == len(row["bound"]) == len(row["kinds"])
        assert all(error < bound for error, bound in zip(errors, row["bound"], strict=True))


def test_what_breaks_outside_of_zoo_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(spec: object) -> torch.nn.Module:
        raise KeyError("width")

    monkeypatch.setattr(generated, "build", broken)
    row = found("d", "random-0", "torchscript")
    assert (row["built"], row["stage"]) == ("error", "make")
    assert row["failures"] == ["unexpected KeyError: 'width'"]
    assert row["spec"] == generate("random-0-0")  # to be kept in found.json


def test_networks_that_were_found_pass() -> None:
    for name in jobs.found():
        row = found("d", name, "torchscript")
        assert judged(row) == RIGHT, (name, row["failures"])


def test_the_list_of_timm_keeps_its_rule() -> None:
    rows = json.loads(LIST.read_text())["networks"]
    assert len(rows) >= 40 and len({row["family"] for row in rows}) >= 20
    assert all(row["parameters"] <= MOST_PARAMETERS for row in rows)
    assert all(row["size"] <= LARGEST for row in rows)


def test_random_networks_come_from_their_seed_and_are_kept_as_json() -> None:
    for number in range(40):
        spec = generate(number)
        assert json.loads(json.dumps(spec)) == spec == generate(number)
        network = generated.build(spec)
        with torch.no_grad():
            out = network(torch.randn(2, *spec["image"]))
        assert out.shape == (2, 10) and bool(torch.isfinite(out).all())
    assert generate(1) != generate(2)


def test_networks_that_were_found_are_run_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    kept = tmp_path / "found.json"
    kept.write_text(json.dumps({"narrow": {"why": "a reason", "spec": generate(5)}}))
    monkeypatch.setattr(jobs, "FOUND", kept)
    assert jobs.networks("d", 0)[:2] == ["narrow", "random-0"]
    assert jobs.specification("narrow", 3) == generate(5)
    assert jobs.specification("random-0", 3) == generate("random-0-3")


def test_half_of_timm_and_the_zoo_come_before_the_other_half() -> None:
    asked = all_jobs(["b", "c"], ["onnx", "openvino"], ["fp32"], 0)
    assert len({job.key for job in asked}) == len(asked) == 2 * (81 + 104)
    parts = [part for part, _ in groupby(asked, key=lambda job: job.part)]
    assert parts == ["b", "c", "b"]
    names = [row["name"] for row in json.loads(LIST.read_text())["networks"]]
    assert {job.network for job in asked[: 2 * 41]} == {*names[::2]}


def test_rows_of_one_network_are_together_and_pytorch_must_be_asked_for() -> None:
    asked = all_jobs(["a", "b"], [], [], 3)
    assert jobs.WAYS not in {job.backend for job in asked}
    assert {job.backend for job in all_jobs(["a"], [jobs.WAYS], [], 3)} == {jobs.WAYS}
    groups = together(asked)
    assert sum(map(len, groups)) == len(asked) and len(groups) == 2 * (len(NETWORKS) + 81)
    for group in groups:
        assert len({(job.part, job.network, job.precision) for job in group}) == 1
        assert len({job.backend for job in group}) == len(group) > 1


def test_rows_of_one_network_are_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    build = generated.build

    def counted(spec: dict[str, Any]) -> torch.nn.Module:
        seeds.append(spec["seed"])
        return build(spec)

    monkeypatch.setattr(generated, "build", counted)
    bench = Bench(threads=torch.get_num_threads())
    for network, backend in (("random-0", "torchscript"), ("random-0", "onnx"), ("random-2", "")):
        job = Job(part="d", network=network, seed=0, backend=backend, precision="fp32")
        row = bench.run(job)
        assert row["built"] == ("passed" if backend else "refused"), row["failures"]
        assert len(row.get("rmse", [])) == len(row.get("kinds", []))
    assert len(seeds) == 2
