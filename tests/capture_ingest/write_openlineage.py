"""A pipeline of two jobs, told by the OpenLineage client itself: python write_openlineage.py FILE."""

import sys

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import (
    DatasetEvent,
    InputDataset,
    Job,
    JobEvent,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    StaticDataset,
)
from openlineage.client.facet_v2 import (
    dataset_version_dataset,
    error_message_run,
    output_statistics_output_dataset,
    parent_run,
    schema_dataset,
)
from openlineage.client.transport.file import FileConfig, FileTransport

PRODUCER = "https://example.org/pipeline"
DAILY, TILE, LOAD = (f"0197f0a4-0000-7000-8000-00000000000{number}" for number in range(3))
client = OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=sys.argv[1], append=True)))


def emit(run: str, name: str, kind: RunState, second: float, inputs=(), outputs=(), **facets) -> None:
    at = f"2026-11-26T10:00:{second:09.6f}+02:00"
    given = {"inputs": list(inputs), "outputs": list(outputs), "producer": PRODUCER}
    client.emit(
        RunEvent(
            eventType=kind, eventTime=at, run=Run(runId=run, facets=facets), job=Job("airflow", name), **given
        )
    )


parent = parent_run.ParentRunFacet(
    run=parent_run.Run(runId=DAILY), job=parent_run.Job(namespace="airflow", name="daily")
)
fields = [schema_dataset.SchemaDatasetFacetFields(name="inline", type="int")]
survey = InputDataset(
    "s3://raw", "survey/a.sgy", facets={"schema": schema_dataset.SchemaDatasetFacet(fields)}
)
tiles = {"namespace": "file", "name": "/data/tiles.h5"}
size = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=10, size=1024)
seventh = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion="7")
table = OutputDataset("postgres://db:5432", "geo.public.tiles", facets={"version": seventh})
failed = error_message_run.ErrorMessageRunFacet(message="boom", programmingLanguage="python")

emit(DAILY, "daily", RunState.START, 0)
emit(TILE, "daily.tile", RunState.START, 1.5, inputs=[survey], parent=parent)
emit(TILE, "daily.tile", RunState.RUNNING, 2, parent=parent)
emit(
    TILE,
    "daily.tile",
    RunState.COMPLETE,
    5,
    outputs=[OutputDataset(**tiles, outputFacets={"outputStatistics": size})],
    parent=parent,
)
emit(LOAD, "daily.load", RunState.START, 6, parent=parent)
emit(LOAD, "daily.load", RunState.COMPLETE, 7, inputs=[InputDataset(**tiles)], outputs=[table], parent=parent)
emit(DAILY, "daily", RunState.FAIL, 8, errorMessage=failed)
client.emit(
    DatasetEvent(eventTime="2026-11-26T10:00:07Z", producer=PRODUCER, dataset=StaticDataset("s3://raw", "x"))
)
client.emit(JobEvent(eventTime="2026-11-26T10:00:07Z", producer=PRODUCER, job=Job("airflow", "daily.tile")))
