"""The README.md of an exported folder: what the weights are, how good, and how to load them."""

from __future__ import annotations

import json
from typing import Any

from compile.machine import package_version
from zoo.exchange.formats import sizes
from zoo.exchange.preprocessing import describe
from zoo.models import info
from zoo.models.counting import parameters
from zoo.runs.checkpoint import Run, RunConfig

HUB_DATA = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
"""The zoo's data sets that the hub has too -> the hub's name."""
_TITLES = {
    "digits": "scikit-learn's handwritten digits",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "folder": "a folder of images",
}


def model_card(run: Run, name: str, license_: str) -> str:
    """Markdown with the front matter that the hub reads. It names nothing of the machine.

    `name` is the folder's, `license_` an identifier of the hub's list.
    """
    config = run.config
    lines = [*_front_matter(config, name, license_), "", f"# {name}", ""]
    lines += [
        f"{config.model} ({info(config.model).source}): "
        f"{parameters(run.build()) / 1e6:.1f} M parameters, {sizes(config)[0]} classes. "
        f"Exported by resnet-zoo {package_version('resnet-zoo')}.",
        "",
        "## Results",
        "",
        *_results(config),
        "",
        "## Training",
        "",
        *_training(config),
        "",
        "## Loading",
        "",
        "```python",
        "import timm",
        "",
        f'model = timm.create_model("local-dir:{name}", pretrained=True)  # this folder',
        f'model = timm.create_model("hf-hub:USER/{name}", pretrained=True)  # once uploaded',
        "```",
        "",
    ]
    if config.preprocessing is not None:
        lines += [
            f"Images: {describe(config.preprocessing)}, scaled to 0..1, then less the mean "
            f"{config.preprocessing['mean']} and divided by {config.preprocessing['std']}; "
            "config.json says the same to timm.",
            "",
        ]
    lines += [f"sha256 of the weights (zoo): `{config.weights_sha256}`", ""]
    return "\n".join(lines)


def _front_matter(config: RunConfig, name: str, license_: str) -> list[str]:
    """YAML. Strings are quoted as in JSON, which is also YAML."""
    lines = [
        "---",
        f"license: {license_}",
        "library_name: timm",
        "pipeline_tag: image-classification",
        "tags: [image-classification, timm, resnet, resnet-zoo]",
    ]
    data = str((config.data or {}).get("name", ""))
    if data in HUB_DATA:
        lines.append(f"datasets: [{HUB_DATA[data]}]")
    if config.results is not None:
        title, kind = json.dumps(_title(data)), json.dumps(HUB_DATA.get(data, data))
        lines += [
            "metrics: [accuracy]",
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            "  - task: {type: image-classification}",
            f"    dataset: {{name: {title}, type: {kind}, split: test}}",
            f"    metrics: [{{type: accuracy, value: {config.results.test_accuracy:.6f}}}]",
        ]
    return [*lines, "---"]


def _results(config: RunConfig) -> list[str]:
    results = config.results
    if results is None:
        return ["None were measured with this export. See the publisher of the weights."]
    data = _title(str((config.data or {}).get("name", "")))
    return [
        f"Test accuracy {100 * results.test_accuracy:.2f} % ({results.test_correct} of "
        f"{results.test_total} images) on {data}, measured once, after the last epoch."
    ]


def _training(config: RunConfig) -> list[str]:
    if config.source is not None:
        source = config.source
        lines = [
            f"Not trained here: imported from the file `{source.get('file')}` (sha256 "
            f"`{source.get('sha256')}`, {source.get('dtype')}). The licence and the recipe of its "
            "authors apply."
        ]
        if source.get("new_head"):
            lines += ["", "**The last layer is new and untrained: its answers mean nothing yet.**"]
        return lines
    data = _title(str((config.data or {}).get("name", "")))
    epochs = f"{config.results.epochs} epochs" if config.results else "an unknown number of epochs"
    versions = ", ".join(f"{name} {number}" for name, number in config.versions.items())
    lines = [f"On {data}, {epochs}, seed {config.seed}, with {versions}.", ""]
    lines += ["| setting | value |", "|---|---|"]
    return lines + [f"| {name} | {_cell(value)} |" for name, value in (config.recipe or {}).items()]


def _title(data: str) -> str:
    return _TITLES.get(data.partition(":")[0], data or "data that is not recorded")


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|") or "-"
