"""The terms of PROV, ML Schema and PROV-ML that headstream writes (spec section 4)."""

from __future__ import annotations

from typing import Final

PREFIXES: Final[dict[str, str]] = {
    # Not yet registered at w3id.org: this is the one place that names it (spec section 11.2).
    "provml": "https://w3id.org/provml/ns#",
    "prov": "http://www.w3.org/ns/prov#",
    "mls": "http://www.w3.org/ns/mls#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "dcterms": "http://purl.org/dc/terms/",
}

TYPE: Final = "rdf:type"

# Attribute class and value class of a declared ML semantics, by direction (spec section 6.1).
# A None value class means a plain AttributeValue.
_SAME: Final[dict[str, tuple[str, str | None]]] = {
    "model_hyper_parameter": ("ModelHyperParameter", "ModelHyperParameterValue"),
    "dataset": ("LearningDatasetReference", "LearningDatasetReferenceValue"),
    "data_characteristic": ("DatasetCharacteristic", "DatasetCharacteristicValue"),
    "evaluation_measure": ("EvaluationMeasure", "ModelEvaluation"),
    "model": ("ModelReference", "ModelReferenceValue"),
    "learning_task": ("LearningTask", "LearningTaskValue"),
    "algorithm": ("Algorithm", "Implementation"),
    "feature_set": ("FeatureSet", "FeatureSetData"),
    "feature_set_characteristic": ("FeatureSetCharacteristic", None),
}
ML_SEMANTICS: Final[dict[str, dict[str, tuple[str, str | None]]]] = {
    "in": {**_SAME, "hyper_parameter": ("LearningHyperParameter", "LearningHyperParameterSetting")},
    "out": {**_SAME, "hyper_parameter": ("ModelHyperParameter", "ModelHyperParameterValue")},
}

# Class of a transformation and of its executions (spec section 4.2).
TRANSFORMATION_TYPES: Final[dict[str, str]] = {
    "LearningStage": "LearningStageExecution",
    "LearningStageSection": "LearningStageSectionExecution",
    "FeatureExtraction": "FeatureExtractionExecution",
}
STAGE_TYPES: Final = frozenset({"Training", "Validation", "Test"})
LIFECYCLE_PHASES: Final = frozenset({"DataCuration", "LearningDataPreparation", "Learning"})
DATA_CLASSES: Final = frozenset({"DomainData", "MachineLearningData", "ExecutionData"})
PERSONAS: Final = frozenset(
    {"DomainScientist", "ComputationalScientistOrEngineer", "MLScientistOrEngineer", "ProvenanceSpecialist"}
)
BETTER_WHEN: Final = frozenset({"lower", "higher"})
VALUE_SEMANTICS: Final = frozenset(
    {"PARAMETER", "OUTPUT_VALUE", "FILE_REFERENCE", "DATA_REFERENCE", "KG_REFERENCE"}
)
REFERENCE_SEMANTICS: Final = frozenset({"FILE_REFERENCE", "DATA_REFERENCE", "KG_REFERENCE"})
STORE_TYPES: Final = frozenset(
    {"FileSystem", "RDBMS", "DocumentDBMS", "Triplestore", "ObjectStore", "GraphDBMS"}
)
# Products that name their kind of store by themselves (spec section 9.1).
STORE_PRODUCTS: Final[dict[str, str]] = {
    "PostgreSQL": "RDBMS",
    "AllegroGraph": "Triplestore",
    "MongoDB": "DocumentDBMS",
    "CloudObjectStore": "ObjectStore",
    "AWSS3": "ObjectStore",
    "Lustre": "FileSystem",
    "GPFS": "FileSystem",
}
FINISHED: Final = "FINISHED"
ERRORED: Final = "ERRORED"
OUTCOMES: Final = frozenset({FINISHED, ERRORED})


def expand(curie: str) -> str:
    """`prov:used` to its full IRI; an absolute IRI (one with `//` or an unknown prefix) stays as it is."""
    prefix, _, local = curie.partition(":")
    namespace = PREFIXES.get(prefix)
    return curie if namespace is None or local.startswith("//") else namespace + local
