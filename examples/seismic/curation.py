"""Data curation: read a raw SEG-Y survey, annotate it, clean it, outline its units (paper, Fig. 7, left).

    python curation.py [--segy FILE] --out DIR

Writes `DIR/curated/EXECUTION/NAME.h5`, a polygons document into `DIR/documents` and annotations into
`DIR/domain`, and prints the path of the curated file. Without `--segy` it writes and takes a small
synthetic survey.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cleaning
import commandline
import documents
import horizons
import numpy as np
import survey
import synthetic
import tiles
from commandline import HERE, Say

from headstream import capture


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the curation and return the exit status."""
    options = _options().parse_args(arguments)
    return commandline.finish("curation", lambda: curate(options, commandline.sayer(options.quiet)))


def curate(options: argparse.Namespace, say: Say) -> Iterator[Path]:
    """The three steps of the curation; yields the curated file."""
    segy = options.segy or _synthetic(options.out, options.seed, say)
    raw = capture.file(segy, store=options.file_store)
    resource = documents.survey_resource(segy)
    with capture.workflow(
        "seismic_curation",
        definition=HERE / "curation.yaml",
        execution=commandline.execution(options.execution),
        person=options.person,
        stores=commandline.stores(),
    ) as run:
        with run.task("extract_raw_data", used={"segy_path": raw}, person=options.person) as step:
            _extract(options, segy, step, say)
        with run.task("annotate", used={"segy_path": raw}, person=options.person) as step:
            _annotate(options, segy, resource, step, say)
        used = {"segy_path": raw, "quality_threshold": options.quality_threshold, "n_units": options.units}
        with run.task("clean_and_filter", used=used, person=options.person) as step:
            curated = options.out / "curated" / run.execution / f"{segy.stem}.h5"
            _clean(options, segy, resource, curated, step, say)
    say("curated file:")
    yield curated


def _extract(options: argparse.Namespace, segy: Path, step: capture.Step, say: Say) -> None:
    """Record what the headers say."""
    say(f"reading the headers of {segy}")
    facts = survey.read_facts(segy, inline_byte=options.inline_byte, crossline_byte=options.crossline_byte)
    step.generated(
        filesize_bytes=facts.filesize_bytes,
        sha256=facts.sha256,
        inline_range=list(facts.inline_range),
        crossline_range=list(facts.crossline_range),
        geox1=facts.geox1,
        geoy1=facts.geoy1,
        sample_interval=facts.sample_interval_us,
        n_samples=facts.n_samples,
    )
    say(
        f"  {facts.n_inlines} inlines {_text(facts.inline_range)}, {facts.n_crosslines} crosslines "
        f"{_text(facts.crossline_range)}, {facts.n_samples} samples of {facts.sample_interval_us} us"
    )


def _annotate(options: argparse.Namespace, segy: Path, resource: str, step: capture.Step, say: Say) -> None:
    """Keep what geoscientists know about the survey, and tie its file to the resource that it is about."""
    known = documents.known_facts(resource, HERE / "domain.nt", basin=options.basin, field=options.field)
    documents.write_annotations(options.out / "domain", segy, known)
    say(f"annotating {resource} with {len(known)} facts")
    step.generated(seismic_uri=capture.resource(resource, store="agraph1"), n_annotations=len(known))


def _clean(
    options: argparse.Namespace, segy: Path, resource: str, curated: Path, step: capture.Step, say: Say
) -> None:
    """Write the curated cube and the outlines of its units."""
    volume = survey.read_volume(segy, inline_byte=options.inline_byte, crossline_byte=options.crossline_byte)
    cleaned = cleaning.clean(
        volume.amplitude,
        sample_interval_us=volume.sample_interval_us,
        quality_threshold=options.quality_threshold,
    )
    traces = len(volume.inlines) * len(volume.crosslines)
    say(f"cleaned the cube: {cleaned.traces_repaired} of {traces} traces repaired")
    outlined = outline(volume, cleaned, units=options.units, name=segy.name, resource=resource)
    store = options.documents or options.out / "documents"
    reference = documents.put(store, "seismic/polygons", outlined)
    say(f"picked {options.units - 1} horizons: {len(outlined['polygons'])} polygons in {reference}")
    tiles.write_arrays(
        curated,
        {"amplitude": cleaned.amplitude, "inlines": volume.inlines, "crosslines": volume.crosslines},
        {"polygons_doc": reference, "seismic_uri": resource, "units": options.units},
    )
    step.generated(
        curated_path=capture.file(curated, store=options.file_store, checksum="sha256"),
        polygons_doc=capture.reference(reference, store="mongo1"),
        traces_repaired=cleaned.traces_repaired,
        mean_quality=round(cleaned.mean_quality, 6),
        n_polygons=len(outlined["polygons"]),
    )


def outline(
    volume: survey.Volume, cleaned: cleaning.Cleaned, *, units: int, name: str, resource: str
) -> dict[str, Any]:
    """The polygons document of a survey: who it is of, and the outline of each unit on each inline."""
    samples = int(volume.amplitude.shape[2])
    picked = horizons.pick(cleaned.amplitude, units=units)
    return {
        "survey": name,
        "resource": resource,
        "units": [f"unit {number}" for number in range(units)],
        "n_samples": samples,
        "inline_range": [int(np.min(volume.inlines)), int(np.max(volume.inlines))],
        "crossline_range": [int(np.min(volume.crosslines)), int(np.max(volume.crosslines))],
        "polygons": horizons.polygons(picked, volume.inlines, volume.crosslines, samples),
    }


def _synthetic(out: Path, seed: int, say: Say) -> Path:
    """Write the survey that stands in for the one of the paper."""
    path = out / "data" / "netherlands.sgy"
    say(f"writing a synthetic survey to {path}")
    return synthetic.write_survey(path, synthetic.Recipe(seed=seed))


def _text(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]} to {bounds[1]}"


def _options() -> argparse.ArgumentParser:
    options = commandline.parser(__doc__.splitlines()[0], person="geoscientist_ana")
    options.add_argument("--segy", type=commandline.absolute, help="3-D post-stack file (default: synthetic)")
    options.add_argument("--seed", type=int, default=2019, help="seed of the synthetic survey")
    options.add_argument("--basin", help="oil basin of the survey, for the domain's triple store")
    options.add_argument("--field", help="oil field of the survey, for the domain's triple store")
    options.add_argument("--documents", type=commandline.absolute, help="folder of the document store")
    options.add_argument(
        "--quality-threshold", type=float, default=0.3, help="repair traces below it (default: %(default)s)"
    )
    options.add_argument(
        "--units", type=int, choices=range(2, 9), default=4, help="stratigraphic units (default: %(default)s)"
    )
    options.add_argument(
        "--inline-byte", type=int, default=survey.INLINE_BYTE, help="trace header byte of the inline"
    )
    options.add_argument(
        "--crossline-byte", type=int, default=survey.CROSSLINE_BYTE, help="trace header byte of the crossline"
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
