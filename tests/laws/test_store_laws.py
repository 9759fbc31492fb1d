from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from harness import archive
from harness.record import Cell, Environment, Failed, Measured, Measurement, Outcome, Record, Skipped
from harness.store import COLUMNS, PlanEntry, ResultStore, StoredPlan

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.floats(allow_nan=False)  # nan is stored as well, but never equals itself
MEASURED = st.builds(
    lambda samples, notes: Measured(
        measurements=(Measurement(name="psnr", unit="dB", samples=tuple(samples)),), notes=tuple(notes)
    ),
    st.lists(NUMBERS, min_size=1, max_size=5),
    st.lists(TEXT, max_size=2),
)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    MEASURED,
    st.builds(Skipped, reason=TEXT),
    st.builds(Failed, failure=st.sampled_from(["out_of_memory", "timeout", "crashed", "error"]), error=TEXT),
)
CELLS = st.builds(
    Cell,
    model=TEXT,
    task=TEXT,
    dataset=TEXT,
    setting=TEXT,
    top_k=st.none() | st.integers(1, 9),
    seed=st.integers(0, 2),
)
ENVIRONMENTS = st.builds(
    Environment,
    machine_class=st.sampled_from("ab"),
    cpu=TEXT,
    cores=st.integers(1, 9),
    memory_gib=st.floats(0, 9),
    system=TEXT,
    device=TEXT,
    python=TEXT,
    versions=st.dictionaries(TEXT, TEXT, max_size=2),
)
RECORDS = st.builds(
    Record,
    cell=CELLS,
    metric=st.sampled_from(["psnr", "latency"]),
    source=st.sampled_from("st"),
    outcome=OUTCOMES,
    artifacts=st.dictionaries(TEXT, TEXT, max_size=2),
    environment=ENVIRONMENTS,
    spec=TEXT,
    commit=TEXT,
    dirty=st.booleans(),
    started_at=TEXT,
    duration_s=st.floats(0, 9),
)


@settings(deadline=None, max_examples=50)
@given(batches=st.lists(st.lists(RECORDS, max_size=4), max_size=4))
def test_what_the_store_appends_it_yields(batches: list[list[Record]]) -> None:
    """The newest of each key, measured ones before others, in every form in which the store tells of it."""
    everything = [record for batch in batches for record in batch]
    ranked = sorted(everything, key=lambda record: isinstance(record.outcome, Measured))
    newest = {record.key: record for record in ranked}
    with tempfile.TemporaryDirectory() as folder, ResultStore.open(Path(folder)) as store:
        for batch in batches:
            store.append(batch)
        assert store.latest() == newest
        assert store.latest(newest) == newest
        assert store.statuses(newest).keys() == newest.keys()
        for cell in {record.cell.id for record in everything}:
            assert store.history(cell) == [record for record in everything if record.cell.id == cell]
        rows = list(store.rows())
    assert all(tuple(row) == COLUMNS for row in rows)
    values = [
        sample
        for record in newest.values()
        if isinstance(record.outcome, Measured)
        for measurement in record.outcome.measurements
        for sample in measurement.samples
    ]
    assert sorted(row["value"] for row in rows if row["status"] == "measured") == sorted(values)


@given(records=st.lists(RECORDS, max_size=5), missing=st.lists(RECORDS, max_size=2), text=TEXT)
def test_what_a_file_of_records_is_given_it_yields(records: list[Record], missing: list[Record], text: str) -> None:
    """The same plan, the same records in the same order, and the same bytes when it is written again."""
    entries = tuple(PlanEntry(cell=each.cell, metric=each.metric, key=each.key) for each in (*missing, *records))
    plan = StoredPlan(digest=text, name=text, question=text, text=text, created_at=text, entries=entries)
    given_ones = {record.key: record for record in records}
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "one"), Path(folder, "other")
        archive.write(one, plan, given_ones)
        found = archive.read(one)
        archive.write(other, found.plan, found.records)
        assert one.read_bytes() == other.read_bytes()
    assert found.plan == plan
    assert found.records == given_ones
    for record in found.records.values():
        assert list(record.artifacts) == list(given_ones[record.key].artifacts)
