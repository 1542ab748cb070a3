"""The workflow of client_workflow.py, captured with our own library."""

import json
from pathlib import Path

from headstream import capture

definition = json.loads(Path(__file__).with_name("learning.json").read_text())
with capture.workflow("learning", execution="run-1", definition=definition) as run:
    used = {
        "data": capture.file("/input/train.h5", store="gpfs1"),
        "batch_size": 60,
        "rates": capture.as_list([0.1, 0.01]),
        "optimiser": capture.as_dict(
            {"name": "adam", "state": capture.file("/input/adam.pt", store="gpfs1")}
        ),
    }
    with run.task("training", used=used, person="lga") as training:
        for epoch in training.loop("epoch", range(2), index_as="epoch"):
            e = epoch.item
            for b in range(2):
                with epoch.task("batch", used={"batch_id": b}) as batch:
                    batch.generated(loss=1 / (e + b + 1))
            epoch.generated(loss=0.5 - e / 10, model=capture.file(f"/models/{e}.pt", store="gpfs1"))
        training.generated(best=0.4)
    run.generated(summary=capture.file("/models/summary.json", store="gpfs1"))
