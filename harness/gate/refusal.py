"""Why a gate did not start or did not end: each reason has a name, and none of them passes."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "no_repository",
    "shallow_clone",
    "unknown_revision",
    "dirty_tree",
    "no_package",
    "does_not_import",
    "foreign_package",
    "missing_device",
    "dead_worker",
    "bad_spec",
    "bad_waiver",
    "small_budget",
    "bad_certificate",
    "bad_document",
]


class Refusal(Exception):
    """The gate has no verdict; the message says what is wrong and what would work."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        """For machines; the message is for people."""
