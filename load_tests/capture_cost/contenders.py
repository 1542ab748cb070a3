"""Who is measured, with which driver and settings, and what each keeps of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from load_tests.peers import flowcept_settings

LOOP: Final = "loop"
LOOP4: Final = "loop4"
STEP: Final = "step"
IMPORT: Final = "import"
PACE: Final = "pace"
SETTINGS: Final = "settings"
CASES: Final = (LOOP, LOOP4, STEP, IMPORT, SETTINGS, PACE)
PREFIX: Final = "cost"
CHANNEL: Final = "interception"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to capture. `share` is the part of the turns that it is given: some are slow."""

    name: str
    driver: str
    mode: str = "-"
    keeps: str = ""
    kafka: bool = False
    peer: bool = True
    share: float = 1.0
    settings: tuple[tuple[str, str], ...] = ()

    def environment(self, place: Path, bootstrap: str | None) -> dict[str, str]:
        """Settings of one run in this folder."""
        broker = bootstrap if self.kafka else None
        if self.driver == "of_flowcept":
            return {"FLOWCEPT_SETTINGS_PATH": str(flowcept_settings(place, broker, CHANNEL))}
        if self.driver == "of_mlflow":
            return {
                "MLFLOW_TRACKING_URI": f"file://{place}/mlruns",
                "MLFLOW_ALLOW_FILE_STORE": "true",  # Since 3.x it must be asked for.
                "GIT_PYTHON_REFRESH": "quiet",
            }
        if self.driver != "ours":
            return {}
        # Git is asked by none of the others either.
        ours = {
            "HEADSTREAM_SPOOL": str(place / "spool"),
            "HEADSTREAM_GIT": "off",
            "HEADSTREAM_PACKAGES": "off",
            **dict(self.settings),
        }
        if broker is not None:
            ours |= {
                "HEADSTREAM_BOOTSTRAP": broker,
                "HEADSTREAM_TOPIC_PREFIX": PREFIX,
                "HEADSTREAM_EXIT_SECONDS": "60",
            }
        return ours


EMPTY = Contender(name="empty loop", driver="nothing", peer=False, keeps="nothing")
OURS = Contender(name="headstream", driver="ours", peer=False, keeps="start, end, values; survives kill -9")
OURS_KAFKA = Contender(
    name="headstream + Kafka", driver="ours", peer=False, kafka=True, keeps="the same, and the broker has it"
)
OURS_DISKLESS = Contender(
    name="headstream diskless + Kafka",
    driver="ours",
    peer=False,
    kafka=True,
    settings=(("HEADSTREAM_SPOOL", "off"),),
    keeps="start, end, values",
)
OURS_EPOCHS = Contender(
    name="headstream, epochs too",
    driver="ours",
    mode="epochs",
    peer=False,
    keeps="as headstream, and 300 epochs as steps around their batches",
)


def _flowcept(mode: str, shown: str, keeps: str) -> tuple[Contender, Contender]:
    name = f"FlowCept {shown}"
    return (
        Contender(name=name, driver="of_flowcept", mode=mode, keeps=f"{keeps}; in memory until stop()"),
        Contender(name=f"{name} + Kafka", driver="of_flowcept", mode=mode, kafka=True, keeps=keeps),
    )


LIGHT = _flowcept("light", "LightweightLoop", "values, no times")
FULL = _flowcept("loop", "Loop", "start, values")
RAW = _flowcept("raw", "2 raw records", "start, end, values in 2 records")
TASK = _flowcept("task", "Task", "start, end, values")
SEND = _flowcept("send", "Task x 2", "start, end, values in 2 records")
MLFLOW = Contender(
    name="MLflow files", driver="of_mlflow", share=0.1, keeps="values with one time; survives kill -9"
)
MLFLOW_RUNS = Contender(
    name="MLflow nested runs", driver="of_mlflow", share=0.01, keeps="start, end, values; survives kill -9"
)
SPANS = Contender(
    name="OpenTelemetry span",
    driver="of_opentelemetry",
    keeps="start, end, values; in memory up to a batch",
)
OURS_ALL = (OURS, OURS_KAFKA, OURS_DISKLESS)


def _setting(letter: str, bag: int, diskful: bool, online: bool) -> Contender:
    """One of the settings of Experiment 1 (paper, section VI-A, figure 5)."""
    transport = "online" if online else "offline"
    said = f"{letter}: bag {bag}, {'diskful' if diskful else 'diskless'}, {transport}"
    settings = [("HEADSTREAM_BAG_SIZE", str(bag)), ("HEADSTREAM_TRANSPORT", transport)]
    if not diskful:
        settings.append(("HEADSTREAM_SPOOL", "off"))
    return Contender(
        name=said, driver="ours", mode="epochs", peer=False, kafka=online, settings=tuple(settings)
    )


PAPER: Final = (
    _setting("A", 1, False, True),
    _setting("B", 1, True, True),
    _setting("C", 1, True, False),
    _setting("D", 50, False, True),
    _setting("E", 50, True, True),
    _setting("F", 50, True, False),
)
WHO: Final = {
    LOOP: (EMPTY, *OURS_ALL, OURS_EPOCHS, *LIGHT, *FULL, *RAW, MLFLOW, SPANS),
    LOOP4: (EMPTY, *OURS_ALL, *LIGHT, *FULL, *RAW, MLFLOW, SPANS),
    STEP: (EMPTY, *OURS_ALL, *RAW, *TASK, *SEND, MLFLOW_RUNS, SPANS),
    IMPORT: (EMPTY, OURS, TASK[0], TASK[1], MLFLOW, SPANS),
    SETTINGS: (EMPTY, *PAPER),
    PACE: (EMPTY, OURS, OURS_KAFKA, *RAW),
}
