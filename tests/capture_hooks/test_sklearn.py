"""An estimator's parameters are what fit used; fit and score are steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstream.capture import Run
from headstream.capture.hooks.sklearn import estimator_facts, fit, score

Steps = Callable[[], dict[str, list[Any]]]
X = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]])
Y = np.array([0, 0, 0, 1, 1, 1])


def test_fit_and_score_are_steps_and_return_what_the_estimator_returns(run: Run, steps: Steps) -> None:
    model = fit(run, LogisticRegression(C=0.5), X, Y, sample_weight=np.ones(6))
    assert isinstance(model, LogisticRegression)
    assert score(run, model, X, Y) == model.score(X, Y) == 1.0
    assert score(run, model, X, Y, scoring="neg_log_loss") < 0
    told = steps()
    (fitted,) = told["fit"]
    assert {
        "estimator_class": "LogisticRegression",
        "C": 0.5,
        "samples": 6,
        "features": 1,
    }.items() <= fitted.used.items()
    assert fitted.generated["classes_"] == [[0, 1]] and fitted.generated["n_features_in_"] == [1]
    assert [(s.generated["score"][0] == 1.0, s.used.get("scoring")) for s in told["score"]] == [
        (True, None),
        (False, "neg_log_loss"),
    ]


def test_estimators_inside_others_are_said_by_their_class() -> None:
    facts = estimator_facts(make_pipeline(StandardScaler(), LogisticRegression(C=2.0)))
    assert facts["estimator_class"] == "Pipeline"
    assert facts["logisticregression"] == "LogisticRegression" and facts["logisticregression__C"] == 2.0
    assert facts["steps"] == [
        ["standardscaler", "StandardScaler"],
        ["logisticregression", "LogisticRegression"],
    ]


def test_a_search_tells_what_it_found(run: Run, steps: Steps) -> None:
    fit(run, GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3), X, Y, name="search")
    (told,) = steps()["search"]
    assert told.used["estimator"] == "LogisticRegression" and told.used["param_grid"] == {"C": [0.1, 1.0]}
    assert told.generated["best_params_"][0]["C"] in (0.1, 1.0) and "cv_results_" not in told.generated
    assert told.notes == []


def test_a_fit_that_fails_fails_as_before_and_its_step_says_so(run: Run, steps: Steps) -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fit(run, RandomForestClassifier(n_estimators=2), X, Y[:3])
    (told,) = steps()["fit"]
    assert told.outcome == "ERRORED" and told.error.startswith("ValueError: Found input variables")


def test_what_cannot_tell_its_parameters_is_fitted_all_the_same(
    run: Run, steps: Steps, internal_errors: list[BaseException]
) -> None:
    class Plain:
        def fit(self, x: Any, y: Any) -> str:
            return "fitted"

    assert fit(run, Plain(), [1, 2], None) == "fitted"
    assert steps()["fit"][0].used == {"samples": 2}
    assert [type(error) for error in internal_errors] == [AttributeError]
    internal_errors.clear()
