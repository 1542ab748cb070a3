"""A tuning with MLflow itself, whose ids are printed: python write_mlflow.py TRACKING_URI FOLDER_OF_FILES."""

import json
import os
import sys
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model

uri, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
(folder / "train.csv").write_text("x,y\n1,2\n")
(folder / "valid.csv").write_text("x,y\n3,4\n")
mlflow.set_tracking_uri(uri)
mlflow.set_experiment("seismic")


def dataset(name: str) -> MetaDataset:
    return MetaDataset(source=resolve_dataset_source(str(folder / f"{name}.csv")), name=name)


ids = {}
with mlflow.start_run(run_name="search") as search:
    ids["search"] = search.info.run_id
    mlflow.log_param("trials", 2)
    for trial, rate in (("coarse", 0.1), ("fine", 0.001)):
        with mlflow.start_run(run_name=trial, nested=True) as run:
            ids[trial] = run.info.run_id
            mlflow.log_params({"lr": rate, "optimizer": "adam", "version": "1.10", "amp": True})
            mlflow.set_tag("team", "seismic")
            train, valid = dataset("train"), dataset("valid")
            mlflow.log_input(train, context="training")
            mlflow.log_input(valid, context="validation")
            for epoch in range(4):
                mlflow.log_metrics({"loss": rate / (epoch + 1), "grad": float("nan")}, step=epoch)
            for value in (7.0, 8.0, 9.0):
                mlflow.log_metric("unnumbered", value)
            mlflow.log_metrics({"system/cpu_utilization_percentage": 12.5}, step=0)
            mlflow.log_text("notes", "notes/a.txt")
            # A model in the way of MLflow 2, and a checkpoint as a logged model of MLflow 3.
            model = Model(artifact_path="model", run_id=run.info.run_id)
            model.add_flavor("python_function", loader_module="mine")
            made = folder / trial
            made.mkdir()
            model.save(made / "MLmodel")
            (made / "weights.bin").write_bytes(b"12345")
            mlflow.log_artifacts(str(made), "model")
            checkpoint = mlflow.initialize_logged_model(name="checkpoint", params={"depth": "3"})
            mlflow.log_outputs([LoggedModelOutput(checkpoint.model_id, step=2)])
            mlflow.log_metric("val_loss", rate * 2, step=3, model_id=checkpoint.model_id, dataset=valid)
            mlflow.finalize_logged_model(checkpoint.model_id, "READY")
            ids[f"{trial}-checkpoint"] = checkpoint.model_id
try:
    with mlflow.start_run(run_name="broken") as run:
        ids["broken"] = run.info.run_id
        mlflow.log_param("lr", 1)
        raise ValueError("diverged")
except ValueError:
    pass
with mlflow.start_run(run_name="rivals") as run:
    valid = dataset("valid")
    mlflow.log_input(valid, context="validation")
    for name, value in (("one", 1.0), ("two", 2.0)):  # In one millisecond.
        rival = mlflow.initialize_logged_model(name=name)
        ids[f"rival-{name}"] = rival.model_id
        mlflow.log_outputs([LoggedModelOutput(rival.model_id, step=1)])
        MlflowClient().log_metric(
            run.info.run_id,
            "score",
            value,
            timestamp=1_700_000_000_000,
            step=1,
            model_id=rival.model_id,
            dataset_name=valid.name,
            dataset_digest=valid.digest,
        )
        mlflow.finalize_logged_model(rival.model_id, "READY")
with mlflow.start_run(run_name="gone") as run:
    pass
mlflow.delete_run(run.info.run_id)
killed = mlflow.start_run(run_name="running")
ids["running"] = killed.info.run_id
mlflow.log_metric("loss", 3.0, step=0)
print(json.dumps(ids), flush=True)
os._exit(0)  # As if it were killed: MLflow would end the run.
