"""Known losses that are accepted for a while: a committed file, shown in every report, that ends by itself."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.catalog import suggest
from harness.gate.refusal import Refusal
from harness.record import Frozen
from harness.spec import SpecError
from harness.training.reading import plain, tree, validate

LONGEST = datetime.timedelta(days=366)
"""From today to a waiver's end: what is accepted for longer belongs into the baseline, or is no loss."""

State = Literal["active", "expired"]


class Waiver(Frozen):
    """One loss that somebody has accepted."""

    cell: str
    limit: float | Literal["not_measured"]
    """The largest accepted ratio of head over base, as in 1.10; or `not_measured`, for a cell that base cannot run."""
    reason: str = Field(min_length=10)
    """Why, in a sentence that a reader of the report understands."""
    expires: datetime.date
    """The last day on which it holds."""

    def state(self, today: datetime.date) -> State:
        """Return whether it still holds."""
        return "active" if today <= self.expires else "expired"

    def accepts(self, ratio: float | None, *, today: datetime.date) -> bool:
        """Return whether it covers a loss; a ratio of None is a cell that was not measured."""
        if self.state(today) == "expired":
            return False
        if ratio is None:
            return self.limit == "not_measured"
        return self.limit != "not_measured" and ratio <= self.limit


class Waivers(Frozen):
    """The file."""

    waivers: tuple[Waiver, ...] = ()


def load(path: Path, cells: Sequence[str], *, today: datetime.date) -> tuple[Waiver, ...]:
    """Read the waivers; none where there is no file. Raises `Refusal` (bad_waiver) with line, rule and remedy."""
    if not path.exists():
        return ()
    try:
        document = plain(*tree(path))
        found = validate(Waivers, document).waivers
    except SpecError as error:
        raise Refusal("bad_waiver", str(error)) from None
    problems = []
    for place, waiver in enumerate(found):
        where = ("waivers", place)
        if waiver.cell not in cells:
            hint = suggest(waiver.cell, list(cells))
            message = f"no cell '{waiver.cell}' in the spec.{hint} Remove the waiver if the cell is gone"
            problems.append(document.problem((*where, "cell"), message))
        if isinstance(waiver.limit, float) and waiver.limit <= 1:
            message = f"{waiver.limit:g} accepts no loss; write the largest accepted ratio, as in 1.10, or not_measured"
            problems.append(document.problem((*where, "limit"), message))
        if waiver.expires - today > LONGEST:
            message = f"{waiver.expires} is more than a year away; a waiver ends by itself: write an earlier day"
            problems.append(document.problem((*where, "expires"), message))
        if waiver.cell in {other.cell for other in found[:place]}:
            problems.append(document.problem((*where, "cell"), f"'{waiver.cell}' has a waiver already; keep one"))
    if problems:
        raise Refusal("bad_waiver", "\n".join(map(str, problems)))
    return found
