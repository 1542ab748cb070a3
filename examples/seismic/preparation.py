"""Learning data preparation: select slices of a curated survey, cut them into tiles (paper, Fig. 7, middle).

    python preparation.py --curated FILE --out DIR [--inlines 100:140] [--crosslines 300:350]

Writes `train.h5`, `valid.h5` and `test.h5` into `DIR/datasets/EXECUTION` and prints that folder. The
curated file names the polygons document and the resource of its survey, and nothing else is known
here of the script that wrote it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import commandline
import documents
import horizons
import numpy as np
import tiles
from commandline import HERE, Say
from errors import DatasetUnreadable, SelectionOutside, TooSmall
from survey import Lines

from headstream import capture


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the preparation and return the exit status."""
    options = _options().parse_args(arguments)
    return commandline.finish("preparation", lambda: prepare(options, commandline.sayer(options.quiet)))


def prepare(options: argparse.Namespace, say: Say) -> Iterator[Path]:
    """The two steps of the preparation; yields the folder of the tile files."""
    with capture.workflow(
        "seismic_create_data",
        definition=HERE / "preparation.yaml",
        execution=commandline.execution(options.execution),
        person=options.person,
        stores=commandline.stores(),
    ) as run:
        folder = options.out / "datasets" / run.execution
        curated = capture.file(options.curated, store=options.file_store)
        with run.task("select_slices", used={"curated_path": curated}, person=options.person) as step:
            selected = _select(options, folder, step, say)
        used = {
            "selected_path": capture.file(selected, store=options.file_store),
            "noise_threshold": options.noise_threshold,
            "tile_size_requested": options.tile_size,
        }
        with run.task("make_tiles", used=used, person=options.person) as step:
            _make_tiles(options, selected, folder, step, say)
    say("folder of train.h5, valid.h5 and test.h5:")
    yield folder


def _select(options: argparse.Namespace, folder: Path, step: capture.Step, say: Say) -> Path:
    """Cut out the slices and label them with the polygons of the survey."""
    arrays, about = tiles.read_arrays(options.curated, "amplitude", "inlines", "crosslines")
    try:
        reference, resource = str(about["polygons_doc"]), str(about["seismic_uri"])
        units = int(about["units"])
    except KeyError as error:
        raise DatasetUnreadable(f"{options.curated} names no {error}; curate the survey again") from error
    inlines = chosen("inlines", arrays["inlines"], options.inlines)
    crosslines = chosen("crosslines", arrays["crosslines"], options.crosslines)
    step.used(
        polygons_doc=capture.reference(reference, store="mongo1"),
        seismic_uri=capture.resource(resource, store="agraph1"),
        inline_range=bounds(arrays["inlines"][inlines]),
        crossline_range=bounds(arrays["crosslines"][crosslines]),
    )
    amplitude = arrays["amplitude"][inlines][:, crosslines]
    document = documents.get(options.documents or _documents_of(options.curated), reference)
    labels = horizons.rasterise(
        document, arrays["inlines"][inlines], arrays["crosslines"][crosslines], amplitude.shape[2]
    )
    say(f"selected {len(inlines)} inlines and {len(crosslines)} crosslines of {options.curated}")
    selected = tiles.write_arrays(
        folder / "selected.h5", {"amplitude": amplitude, "labels": labels}, {"units": units}
    )
    step.generated(
        selected_path=capture.file(selected, store=options.file_store, checksum="sha256"),
        n_slices=len(inlines) + len(crosslines),
    )
    return selected


def _make_tiles(
    options: argparse.Namespace, selected: Path, folder: Path, step: capture.Step, say: Say
) -> None:
    """Cut each block of inlines into tiles and write its file."""
    arrays, about = tiles.read_arrays(selected, "amplitude", "labels")
    inlines, crosslines, samples = arrays["amplitude"].shape
    size = tiles.tile_size_for(options.tile_size, crosslines=crosslines, samples=samples)
    step.used(tile_size=size)
    if size < options.tile_size:
        say(
            f"tiles of {options.tile_size} do not fit in sections of {crosslines} crosslines x {samples} "
            f"samples: using {size} x {size}"
        )
    cuts = {
        part: tiles.cut(
            arrays["amplitude"][rows],
            arrays["labels"][rows],
            size=size,
            threshold=options.noise_threshold,
            units=int(about["units"]),
        )
        for part, rows in tiles.split(inlines).items()
    }
    for part, cut in cuts.items():
        if not len(cut.kept):
            raise TooSmall(
                f"all {cut.dropped} tiles of the {part} part are noisier than {options.noise_threshold} "
                f"(the least noisy has {min(cut.noise):.3f}); give a higher --noise-threshold"
            )
    shared = {"tile_size": size, "noise_threshold": options.noise_threshold}
    paths = {
        part: capture.file(
            tiles.write_tiles(folder / f"{part}.h5", cut.kept, shared),
            store=options.file_store,
            checksum="sha256",
        )
        for part, cut in cuts.items()
    }
    dropped = sum(cut.dropped for cut in cuts.values())
    kept = ", ".join(f"{len(cut.kept)} {part}" for part, cut in cuts.items())
    say(f"kept {kept} tiles, left out {dropped} noisy ones")
    step.generated(
        train_path=paths["train"],
        valid_path=paths["valid"],
        test_path=paths["test"],
        n_tiles=len(cuts["train"].kept),
        n_valid=len(cuts["valid"].kept),
        n_test=len(cuts["test"].kept),
        class_balance=cuts["train"].kept.class_balance,
        class_balance_valid=cuts["valid"].kept.class_balance,
        class_balance_test=cuts["test"].kept.class_balance,
        n_dropped=dropped,
    )


def chosen(kind: str, numbers: Lines, wanted: tuple[int, int] | None) -> Lines:
    """The positions of the slices wanted; both ends must be in the survey, None takes all."""
    low, high = bounds(numbers)
    if wanted is None:
        wanted = (low, high)
    if wanted[0] < low or wanted[1] > high:
        raise SelectionOutside(
            f"--{kind} {wanted[0]}:{wanted[1]}: the curated survey has {kind} {low} to {high}"
        )
    positions = np.flatnonzero((numbers >= wanted[0]) & (numbers <= wanted[1])).astype(np.int32)
    if not len(positions):
        raise SelectionOutside(f"--{kind} {wanted[0]}:{wanted[1]} lies between two {kind} of the survey")
    return positions


def bounds(numbers: Lines) -> list[int]:
    """First and last number, both included: a range as the definition means it."""
    return [int(np.min(numbers)), int(np.max(numbers))]


def _documents_of(curated: Path) -> Path:
    """Where curation.py puts documents when it is not told otherwise: beside its curated files."""
    return curated.parent.parent.parent / "documents"


def _options() -> argparse.ArgumentParser:
    options = commandline.parser(__doc__.splitlines()[0], person="engineer_rui")
    options.add_argument("--curated", type=commandline.absolute, required=True, help="curated HDF5 file")
    options.add_argument("--documents", type=commandline.absolute, help="folder of the document store")
    options.add_argument("--inlines", type=commandline.span, help="inlines, as FIRST:LAST (default: all)")
    options.add_argument(
        "--crosslines", type=commandline.span, help="crosslines, as FIRST:LAST (default: all)"
    )
    options.add_argument(
        "--tile-size", type=commandline.positive, default=40, help="side of a tile (default: %(default)s)"
    )
    options.add_argument(
        "--noise-threshold", type=float, default=0.1, help="leave out noisier tiles (default: %(default)s)"
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
