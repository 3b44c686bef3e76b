"""Reader studies: who read what with which help, the figures that may be asked of them, and what must hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block, Name
from evalsuite.protocol.metric_info import MetricInfo

READERS = "readers"
_FIGURES = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity"}
#: Areas of readers who mark where a lesion is, and what each is of.
LOCATION = {
    "lroc": "area under the LROC curve",
    "afroc": "area under the AFROC curve",
    "wafroc": "area under the weighted AFROC curve",
    "afroc1": "area under the AFROC curve against the highest false positive of every case",
    "wafroc1": "area under the weighted AFROC curve against the highest false positive of every case",
}
_AREAS = {
    "lroc": "LROC area",
    "afroc": "AFROC area",
    "wafroc": "weighted AFROC area",
    "afroc1": "AFROC area, all cases",
    "wafroc1": "weighted AFROC area, all cases",
}


class ReaderStudy(Block):
    """Readers' answers are rows of the recorded predictions: `rater` names the reader, `condition` the treatment."""

    test: Name = Field(description="condition of the readings that are evaluated, e.g. aided")
    control: Name | None = Field(
        default=None, description="condition they are compared with, e.g. unaided; none in a study of one treatment"
    )
    generalise: Literal["readers_and_cases", "cases", "readers"] = Field(
        default="readers_and_cases",
        description="what the result is to hold for: other readers and cases, or other cases or readers alone",
    )
    method: Literal["obuchowski_rockette", "u_statistics"] = Field(
        default="obuchowski_rockette", description="u_statistics (iMRMC) are of AUROC and random readers and cases"
    )
    covariance: Literal["jackknife", "bootstrap", "delong", "unbiased"] = Field(
        default="jackknife",
        description="of readers' figures over cases; bootstrap draws patients with `confidence.bootstrap.replicates` "
        "and `seed`; delong is of AUROC, and it and unbiased of patients with one case each",
    )
    distribution: Literal["by_readers", "hillis", "behrens_fisher"] = Field(
        default="by_readers",
        description="of gains and means over random readers and cases: hillis is a t distribution with Hillis' degrees "
        "of freedom; behrens_fisher keeps the parts over cases and over readers apart; by_readers takes the latter "
        "with fewer than four readers, where the former errs more often than stated",
    )
    seconds: Name | None = Field(
        default=None,
        description="column of the readings with the time each took, in seconds, for reader_seconds; in a table of "
        "marks every row of a reading states the same",
    )
    design: Literal["crossed", "as_read"] = Field(
        default="crossed",
        description="crossed: every reader reads every case with every treatment, and a reading that lacks is missing; "
        "as_read: who reads what is as recorded, and only a reading recorded as failed is missing",
    )


def _metrics() -> Iterator[MetricInfo]:
    for figure, title in {**_FIGURES, **_AREAS}.items():
        called = figure in ("sensitivity", "specificity")
        yield MetricInfo(
            name=f"reader_{figure}", title=f"Readers' {title}", analysis=READERS, needs_operating_point=called,
            family="proportion" if called else "other", intervals=(), tasks=("readers",),
            definition=f"mean over readers of their {LOCATION.get(figure, title)} with the test treatment",
        )  # fmt: skip
        yield MetricInfo(
            name=f"reader_{figure}_gain", title=f"Gain in readers' {title}", analysis=READERS,
            needs_operating_point=called, lower=-1.0, intervals=(), tasks=("readers",),
            definition=f"mean over readers of their {LOCATION.get(figure, title)} with the test treatment less that "
            "with the control",
        )  # fmt: skip
        yield MetricInfo(
            name=f"standalone_{figure}_gain", title=f"Device's {title} over readers'", analysis=READERS,
            needs_operating_point=called, lower=-1.0, intervals=(), tasks=("readers",),
            definition=f"{LOCATION.get(figure, title)} of the device alone less the mean over readers, with the "
            "control where there is one",
        )  # fmt: skip


def _others() -> Iterator[MetricInfo]:
    common: dict[str, Any] = {"analysis": READERS, "intervals": (), "tasks": ("readers",)}
    yield MetricInfo(
        name="reader_seconds", title="Reading time (s)", higher_is_better=False, upper=None,
        definition="mean over readers of their mean time per case with the test treatment", **common,
    )  # fmt: skip
    yield MetricInfo(
        name="reader_seconds_gain", title="Change in reading time (s)", higher_is_better=False, lower=None, upper=None,
        definition="mean over readers of their mean time per case with the test treatment less that with the control",
        **common,
    )  # fmt: skip
    yield MetricInfo(
        name="reader_agreement_kappa", title="Readers' agreement on calls", needs_operating_point=True, lower=-1.0,
        definition="Fleiss' kappa of the calls of the readers who called the same case, with each treatment", **common,
    )  # fmt: skip
    yield MetricInfo(
        name="reader_agreement_alpha", title="Readers' agreement on ratings", lower=-1.0,
        definition="Krippendorff's alpha of the ratings (interval scale), with each treatment", **common,
    )  # fmt: skip
    yield MetricInfo(
        name="reader_agreement_icc", title="Readers' ICC of ratings", lower=-1.0,
        definition="intraclass correlation ICC(2,1) of the ratings, absolute agreement, with each treatment", **common,
    )  # fmt: skip


#: Metrics of a reader study, by name.
READER_METRICS: dict[str, MetricInfo] = {m.name: m for m in (*_metrics(), *_others())}
AGREEMENT = "reader_agreement_"


def figure_of(metric: str) -> str:
    """The figure of merit behind a reader metric; a mean for times."""
    if metric.startswith("reader_seconds"):
        return "mean"
    return metric.removeprefix("reader_").removeprefix("standalone_").removesuffix("_gain")


class _Asked(Protocol):
    @property
    def metric(self) -> str: ...


def reader_problems(
    kind: str, study: ReaderStudy | None, task: str, endpoints: Iterable[_Asked], *, unresolved: str, compares: bool
) -> Iterator[Problem]:
    """What contradicts itself in a reader study, and reader metrics outside one."""
    asked = list(endpoints)
    if kind != "reader_study":
        if study is not None:
            yield Problem("a block on readers belongs to a reader study", "readers", "set kind: reader_study")
        for i, endpoint in enumerate(asked):
            if endpoint.metric in READER_METRICS:
                yield Problem(
                    f"'{endpoint.metric}' is of a reader study", f"endpoints[{i}].metric", "set kind: reader_study"
                )
        return
    if study is None:
        yield Problem(
            "a reader study says which readings it evaluates",
            "readers",
            "e.g. readers: {test: aided, control: unaided}",
        )
        return
    if task not in ("binary", "detection"):
        yield Problem(
            f"a reader study is of a binary task or of marks, not of a {task} one", "task.kind",
            "set kind: binary, or kind: detection",
        )  # fmt: skip
    if task == "detection":
        yield from _of_marks(study)
    if compares:
        yield Problem(
            "a reader study compares readings, not a baseline", "comparisons", "ask for a reader_…_gain endpoint"
        )
    if unresolved != "exclude":
        yield Problem(
            "readers are not counted against cases whose truth is unknown", "missing_reference.primary",
            "set missing_reference: {primary: exclude}; a set with such cases is refused",
        )  # fmt: skip
    if study.control == study.test:
        yield Problem("test and control are one condition", "readers.control", "name the other one, or leave it out")
    if study.method == "u_statistics" and study.generalise != "readers_and_cases":
        yield Problem("u_statistics generalise to readers and cases", "readers.generalise", "leave it out")
    if study.method == "u_statistics" and study.distribution != "by_readers":
        yield Problem("u_statistics have a distribution of their own", "readers.distribution", "leave it out")
    for i, endpoint in enumerate(asked):
        path = f"endpoints[{i}].metric"
        if endpoint.metric not in READER_METRICS:
            yield Problem(f"'{endpoint.metric}' is not of a reader study", path, f"one of: {', '.join(READER_METRICS)}")
            continue
        if endpoint.metric.startswith("reader_") and endpoint.metric.endswith("_gain") and study.control is None:
            yield Problem("a gain needs a control", path, "name readers.control")
        if figure_of(endpoint.metric) == "mean" and study.seconds is None:
            yield Problem("a reading time needs its column", path, "name readers.seconds")
        if endpoint.metric.startswith(AGREEMENT):
            if task == "detection" and endpoint.metric != f"{AGREEMENT}kappa":
                yield Problem(
                    "cases without a mark have no rating to agree on", path, "use reader_agreement_kappa, of calls"
                )
            continue
        figure = figure_of(endpoint.metric)
        if figure in LOCATION and task != "detection":
            yield Problem(
                f"'{endpoint.metric}' is of marks, not of ratings",
                path,
                "set task.kind: detection, or use reader_auroc",
            )
        if figure != "auroc" and (study.method == "u_statistics" or study.covariance == "delong"):
            named = "u_statistics" if study.method == "u_statistics" else "delong"
            yield Problem(
                f"{named} is of the AUROC, not of {endpoint.metric}", path, "use obuchowski_rockette with the jackknife"
            )
        if endpoint.metric.startswith("standalone_") and study.method == "u_statistics":
            yield Problem("the device alone is compared by obuchowski_rockette", path, "set readers.method")


def _of_marks(study: ReaderStudy) -> Iterator[Problem]:
    """What readers who mark lesions do not have."""
    if study.method != "obuchowski_rockette":
        yield Problem("u_statistics are of ratings, not of marks", "readers.method", "use obuchowski_rockette")
    if study.covariance not in ("jackknife", "bootstrap"):
        yield Problem(
            f"the {study.covariance} covariance is of ratings, not of marks", "readers.covariance",
            "use jackknife or bootstrap",
        )  # fmt: skip
    if study.design != "crossed":
        yield Problem(
            "areas of marks are of cases that every reader read", "readers.design", "use crossed, or leave it out"
        )
