"""zoo eval: a run's test accuracy, measured again."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from zoo.cli.command import Command
from zoo.cli.options import JsonOption, ModelArgument, RunsOption, ThreadsOption, set_threads
from zoo.errors import CheckFailed, UsageError


@dataclass(frozen=True, kw_only=True)
class Eval(ModelArgument, RunsOption, ThreadsOption, JsonOption, Command):
    """Measure a run's test accuracy again."""

    def run(self) -> None:
        """Print the accuracy. Raises CheckFailed if training recorded another."""
        from compile.report import percent, show, to_json
        from zoo.sources.source import resolve
        from zoo.training.evaluate import evaluate

        set_threads(self.threads)
        source = resolve(self.model, runs=self.runs)
        data = source.data()
        if source.run is None or data is None:
            raise UsageError(f"{source.origin} has no data set; give a run, or train one")
        result = evaluate(source.network, data.test)
        if self.json:
            report = {"run": source.origin, "accuracy": result.accuracy, **asdict(result)}
            print(to_json(report), end="")
        else:
            show(
                f"{source.origin}: test accuracy {percent(result.correct, result.total)} "
                f"({result.correct} of {result.total}), loss {result.loss:.4f}",
                "next: zoo compile --backend all",
            )
        config = source.run.config
        # A GPU rounds differently, which may decide an image or two.
        allowed = 0 if config.device == "cpu" else max(1, result.total // 500)
        recorded = result.correct if config.results is None else config.results.test_correct
        if abs(recorded - result.correct) > allowed:
            raise CheckFailed(
                f"training recorded {recorded} correct, now it is {result.correct}: "
                "another data set, torch version or machine"
            )
