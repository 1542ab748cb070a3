"""The tables that are printed, in Markdown for the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from load_tests.capture_cost.contenders import (
    IMPORT,
    LOOP,
    LOOP4,
    PACE,
    SETTINGS,
    STEP,
    WHO,
)

PAPER_SECONDS: Final = 21.3 * 60  # The training of Experiment 1 without capture.
PAPER_TURNS: Final = 300 * 35
TITLES: Final = {
    LOOP: "Loop turn with start, end and 1 scalar (us a turn, 300 x 35 turns)",
    LOOP4: "Loop turn with start, end and 4 scalars (us a turn, 300 x 35 turns)",
    STEP: "General step with 3 inputs and 2 outputs (us a step)",
    IMPORT: "Import",
    SETTINGS: "The paper's settings (Experiment 1; 300 epochs of 35 batches, epochs captured too)",
    PACE: "CPU-bound loop of 200 us a turn, 10,000 events/s, in the same process as the shipper",
}
NOTE: Final = (
    "A run is short here (tens of ms in the loop), so `with final write` has all of what happens once: with\n"
    "Kafka that is the first connection of a librdkafka producer, 0.02 to 1 s for whoever uses it."
)
Rows = Mapping[str, Mapping[str, float]]


def table(case: str, rows: Rows) -> str:
    """One case as Markdown."""
    body = {IMPORT: _imports, SETTINGS: _settings, PACE: _pace}.get(case, _costs)(case, rows)
    return f"### {TITLES[case]}\n\n{body}"


def _costs(case: str, rows: Rows) -> str:
    ours = rows["headstream"]
    keeps = {who.name: who.keeps for who in WHO[case]}
    lines = []
    for name, row in rows.items():
        lines.append(
            (
                name,
                f"{row['loop_us']:.2f}",
                f"{row['total_us']:.2f}",
                f"{row['loop_us'] / ours['loop_us']:.1f}",
                f"{row['total_us'] / ours['total_us']:.1f}",
                f"{row['end_ms']:,.0f}",
                f"{row['rss_mb']:.0f}",
                f"{row['disk_kb']:,.0f}",
                keeps[name],
            )
        )
    head = (
        "",
        "in the loop",
        "with final write",
        "loop, x headstream",
        "with final write, x headstream",
        "final write, ms a run",
        "peak RSS MB",
        "disk KB",
        "keeps",
    )
    return f"{_markdown(head, lines)}\n\n{NOTE}"


def _imports(case: str, rows: Rows) -> str:
    names = {
        "headstream": "headstream.capture",
        "FlowCept Task": "flowcept (offline)",
        "FlowCept Task + Kafka": "flowcept (Kafka)",
        "MLflow files": "mlflow-skinny",
        "OpenTelemetry span": "opentelemetry.sdk.trace",
    }
    base = rows["empty loop"]["rss_mb"]
    lines = [
        (names[name], f"{row['import_ms']:.0f}", f"{row['rss_mb'] - base:.0f}")
        for name, row in rows.items()
        if name in names
    ]
    return _markdown(("import", "ms", "MB more than a bare interpreter"), lines)


def _settings(case: str, rows: Rows) -> str:
    base = rows["empty loop"]
    lines = []
    for name, row in rows.items():
        if name == "empty loop":
            continue
        seconds = (row["loop_us"] - base["loop_us"]) * PAPER_TURNS / 1e6 + row["end_ms"] / 1e3
        lines.append(
            (
                name,
                f"{row['loop_us']:.2f}",
                f"{row['end_ms']:,.0f}",
                f"{seconds:.2f}",
                f"{seconds / PAPER_SECONDS * 100:.4f} %",
                f"{(row['cpu_ms'] - base['cpu_ms']) / 1e3:.2f}",
            )
        )
    head = (
        "setting",
        "us a turn in the loop",
        "final write, ms a run",
        "s a run",
        "of 21.3 min",
        "CPU s a run, import included",
    )
    return f"{_markdown(head, lines)}\n\nThe paper's best setting (D) adds 8.6 s, 0.67 %."


def _pace(case: str, rows: Rows) -> str:
    lines = [
        (
            name,
            f"{row['plain_us']:.1f}",
            f"{row['captured_us']:.1f}",
            "-" if name == "empty loop" else f"{2e6 / row['captured_us']:,.0f}",
            f"{row['slower']:+.1f} %",
            f"{row['slower_best']:+.1f} %",
            f"{row['rss_mb']:.0f}",
        )
        for name, row in rows.items()
    ]
    head = (
        "",
        "us a turn without",
        "us a turn with",
        "events/s",
        "slower (median)",
        "slower (best)",
        "RSS MB",
    )
    return f"{_markdown(head, lines)}\n\nThe first row is the same work twice: the noise of this machine."


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
