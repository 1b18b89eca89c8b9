"""The errors of the zoo: those of ``compile``, so that one table of exit codes serves both."""

from compile.errors import BadArtifact, CheckFailed, Unavailable, UsageError, ZooError

__all__ = ["BadArtifact", "CheckFailed", "Unavailable", "UsageError", "ZooError"]
