"""scikit-learn: an estimator's parameters as used, `fit` and `score` as steps.

    model = fit(run, LogisticRegression(C=0.5), x, y)
    accuracy = score(run, model, x_test, y_test)

They return what the estimator returns, and raise what it raises; the step has then failed.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from headstream.capture import Run, Step
from headstream.capture.hooks.shield import need, shielded

sklearn = need("sklearn", "scikit-learn")
_metrics = need("sklearn.metrics", "scikit-learn")

_MOST_ELEMENTS = 100


def estimator_facts(estimator: Any) -> dict[str, Any]:
    """The class of an estimator, and its parameters by the names of `get_params`.

    Estimators and functions inside, as in a pipeline, are said by their class or name; their own
    parameters follow as `step__name`. A parameter that is None is left out.
    """
    with shielded("sklearn"):
        given = estimator.get_params(deep=True)
        facts = {str(name): _parameter(value) for name, value in given.items() if value is not None}
        return {"estimator_class": type(estimator).__name__, **facts, "sklearn_version": sklearn.__version__}
    return {}


def fitted_facts(estimator: Any) -> dict[str, Any]:
    """What `fit` has left in an estimator by scikit-learn's rule, names that end in `_`, if it is small."""
    with shielded("sklearn"):
        public = {k: v for k, v in vars(estimator).items() if k.endswith("_") and not k.startswith("_")}
        return {name: value for name, value in public.items() if _is_small(value)}
    return {}


def fit(inside: Run | Step, estimator: Any, x: Any, y: Any = None, *, name: str = "fit", **more: Any) -> Any:
    """Fit an estimator as a step of a run or step; what else is given goes to its `fit`."""
    with inside.task(name, used={**estimator_facts(estimator), **_shape(x)}) as step:
        fitted = estimator.fit(x, y, **more)
        step.generated(**fitted_facts(estimator))
        return fitted


def score(
    inside: Run | Step,
    estimator: Any,
    x: Any,
    y: Any = None,
    *,
    name: str = "score",
    scoring: str | None = None,
    **more: Any,
) -> Any:
    """Score a fitted estimator as a step: by its own `score`, or by a scorer of scikit-learn's."""
    used = {"estimator_class": type(estimator).__name__, **_shape(x)}
    with inside.task(name, used=used if scoring is None else {**used, "scoring": scoring}) as step:
        if scoring is None:
            result = estimator.score(x, y, **more)
        else:
            result = _metrics.get_scorer(scoring)(estimator, x, y, **more)
        step.generated(score=result)
        return result


def _parameter(value: Any) -> Any:
    if isinstance(value, type) or hasattr(value, "get_params"):
        return value.__name__ if isinstance(value, type) else type(value).__name__
    if isinstance(value, (list, tuple)):
        return [_parameter(each) for each in value]
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return value


def _is_small(value: Any) -> bool:
    if isinstance(value, Mapping):
        return len(value) <= _MOST_ELEMENTS and all(_is_scalar(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return len(value) <= _MOST_ELEMENTS and all(_is_scalar(each) for each in value)
    size = getattr(value, "size", None)
    return _is_scalar(value) or (hasattr(value, "dtype") and isinstance(size, int) and size <= _MOST_ELEMENTS)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (bool, str, numbers.Number))


def _shape(x: Any) -> dict[str, Any]:
    """Samples and features of what is learned from, if it can tell."""
    with shielded("sklearn"):
        shape = getattr(x, "shape", None)
        if shape is not None:
            return dict(zip(("samples", "features"), (int(n) for n in shape), strict=False))
        return {"samples": len(x)} if hasattr(x, "__len__") else {}
    return {}
