"""A nested workflow instrumented with IBM's client: a training, its epochs, and the batches of each.

    python client_workflow.py URL LOG_DIR BAG_SIZE [PAUSE]

Before batch PAUSE (`epoch.batch`) it says so and waits for a line.
"""

import json
import sys
from pathlib import Path

from provlake import ProvLake
from provlake.capture import ProvCycle, ProvTask, ProvWorkflow
from provlake.utils.args_handler import (
    add_custom_metadata,
    get_data_reference,
    get_dict,
    get_list,
)

url, log_dir, bag_size = sys.argv[1:4]
pause = sys.argv[4] if len(sys.argv) > 4 else None
prov = ProvLake.get_persister(
    service_url=url,
    log_dir=log_dir,
    bag_size=int(bag_size),
    with_validation=True,
    log_level="debug",
)
prov.persist_prospective(json.loads(Path(__file__).with_name("learning.json").read_text()))
with ProvWorkflow(prov, "learning", wf_exec_id="run-1") as workflow:
    used = {
        "data": get_data_reference("/input/train.h5", "gpfs1"),
        "batch_size": 60,
        "rates": get_list([0.1, 0.01]),
        "optimiser": get_dict({"name": "adam", "state": get_data_reference("/input/adam.pt", "gpfs1")}),
    }
    training = ProvTask(prov, "training", workflow, used, task_id="0", person_id="lga")
    training.begin()
    for e in range(2):
        epoch = ProvCycle(prov, "epoch", iteration_id=e, prov_workflow=workflow, input_args={"epoch": e})
        epoch.begin()
        for b in range(2):
            if pause == f"{e}.{b}":
                print("paused", flush=True)
                input()
            place = {"parent_cycle_name": "epoch", "parent_cycle_iteration": e}
            batch = ProvTask(prov, "batch", workflow, {"batch_id": b}, task_id=f"0.{e}.{b}", **place)
            batch.begin()
            batch.end({"loss": 1 / (e + b + 1)})
        model = get_data_reference(f"/models/{e}.pt", "gpfs1")
        epoch.end({"loss": add_custom_metadata(0.5 - e / 10, {"unit": "nats"}), "model": model})
    training.end({"best": 0.4})
    workflow.end({"summary": get_data_reference("/models/summary.json", "gpfs1")})
