"""The errors of the zoo: those of ``compile``, so that one handler and one table of exit codes serve both."""

from compile.errors import BadArtifact, CheckFailed, Unavailable, UsageError, ZooError

__all__ = ["BadArtifact", "CheckFailed", "Unavailable", "UsageError", "ZooError"]
