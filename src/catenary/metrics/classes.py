"""The door to the evaluation of whole-image classes: a table of answers in, a `ClassEvaluation` out.

>>> truth, positive = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
>>> found = evaluate_classes(truth, np.stack([1 - positive, positive], 1), names=("healthy", "glaucoma"), groups="abcd")
>>> print(found.classes["glaucoma"]["auc"], found.confusion)
0.750 [[2, 0], [1, 1]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.metrics.calibration import brier_parts, calibration_error, chance_error, equal_mass, pool
from catenary.metrics.classification import COUNTED, confusion_matrices
from catenary.metrics.classresults import (
    SCORES,
    BrierParts,
    CaseAnswer,
    ClassComparison,
    ClassCurves,
    ClassDetails,
    ClassEvaluation,
    ClassScore,
    DecisionCurve,
    ReliabilityBin,
    SourceScores,
)
from catenary.metrics.classtable import (
    FEWEST_GROUPS,
    Answers,
    case_scores,
    check_answers,
    column,
    ends_of,
    finite,
    joined,
    measure,
    scored,
    summarise_answers,
)
from catenary.metrics.decision import GRID, net_benefit, treat_all
from catenary.metrics.intervals import (
    RESAMPLES,
    group_index,
    percentile_interval,
    resample_means,
    sign_flip_p,
    sum_groups,
)
from catenary.metrics.ranking import compare_areas, cuts
from catenary.metrics.results import Difference

__all__ = ["ClassComparison", "ClassEvaluation", "compare_classes", "evaluate_classes"]

#: With fewer images a source on average, its own share of a class is no baseline but the answer itself.
_FEWEST_OF_SOURCE = 10
#: Points of a curve that are kept for drawing.
_POINTS = 500

Array = NDArray[Any]

_CONVENTIONS = {
    "classes": "of two classes the second is the positive one; of more, each is scored against the rest and the "
    "mean is over the classes whose score is defined. Accuracy, balanced accuracy, MCC and log loss of several are "
    "over all classes at once.",
    "undefined": "0/0 is no number: such a score is left empty and said, never taken for 0 or 1.",
    "intervals": f"95 % percentile bootstrap, whole groups (patients) drawn with replacement, {RESAMPLES} times; a "
    f"resample that does not define a score is left out and the share told; none with fewer than {FEWEST_GROUPS} "
    "groups.",
    "curves": "equal probabilities are one cut. Sensitivity at a specificity, and the reverse, are those of a cut that "
    "exists; nothing is interpolated. Average precision is a sum of steps.",
    "reliability": "ten bins of equal numbers of images, fewer with few images; equal probabilities share a bin.",
    "calibration_error": "a part of what chance adds is taken off (Kumar et al. 2019). Beside it stand the plain value "
    "and the one that chance alone gives a perfectly calibrated model; only what is larger than that says anything.",
    "baselines": "fitted on the scored cases themselves, which flatters them: the commonest class for all; the "
    "classes' shares as probabilities; the shares within the case's own source.",
}


def evaluate_classes(
    truth: Sequence[int] | Array,
    probability: Array,
    *,
    names: Sequence[str],
    groups: Sequence[str],
    sources: Sequence[str] | None = None,
    cases: Sequence[str] | None = None,
    threshold: float | None = None,
    prevalence: float | None = None,
    split: str = "test",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ClassEvaluation:
    """Measure a classifier from its answers.

    Args:
        truth: Class index of each of n cases.
        probability: ``(n, k)``, of every class; rows add up to 1.
        names: The k classes; of two the first is the negative one.
        groups: Patient of each case: what intervals are drawn over.
        sources: Camera, clinic or data set of each case.
        cases: Name of each case; numbers when None.
        threshold: Probability from which on a case is positive (two classes only), chosen on other cases; 0.5 when
            None. Of more classes the most probable is called.
        prevalence: Where the model will be used, for predictive values (two classes only).
        split: Which cases these are.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        InputError: The table is empty, of unequal lengths, or holds what is no class or no probability.
        ConfigError: The prevalence is not between 0 and 1.
    """
    table = check_answers(truth, probability, names, groups, threshold)
    n, k = table.probability.shape
    if prevalence is not None and k != 2:
        raise InputError(f"a stated prevalence is of two classes, found {k}; leave it out")
    labels = [str(i) for i in range(n)] if cases is None else list(cases)
    origins = [""] * n if sources is None else list(sources)
    for what, given in (("case names", labels), ("sources", origins)):
        if len(given) != n:
            raise InputError(f"there are {n} answers but {len(given)} {what}; give one a case")
    index, count = group_index(table.groups)
    draws = table.draws(seed, resamples)
    whole = np.ones((1, count))
    found = measure(table, whole, prevalence)
    drawn = None if draws is None else measure(table, draws, prevalence, resampled=True)
    targets = [table.names[t] for t in table.targets]
    classes = {name: scored(column(found[0], i), drawn and column(drawn[0], i), n) for i, name in enumerate(targets)}
    whole_mean, drawn_mean = joined(found, drawn)
    confusion = confusion_matrices(table.truth, table.called, k, index, whole)[0]
    rows = _sources(table, origins, seed, resamples)
    return ClassEvaluation(
        split=split,
        n=n,
        groups=count,
        names=list(table.names),
        targets=targets,
        threshold=table.threshold,
        prevalence=prevalence,
        confusion=confusion.astype(int).tolist(),
        classes=classes,
        mean=scored(whole_mean, drawn_mean, n),
        details={name: _details(table, t, index, draws) for name, t in zip(targets, table.targets, strict=True)},
        sources=rows,
        baselines=_baselines(table, origins),
        cases=_cases(table, labels, origins),
        notes=_notes(table, classes, count) + [f"{row.source or 'no source'}: {row.note}" for row in rows if row.note],
        conventions=_conventions(table, prevalence, classes),
    )


def compare_classes(
    truth: Sequence[int] | Array,
    a: Array,
    b: Array,
    *,
    names: Sequence[str],
    groups: Sequence[str],
    models: tuple[str, str] = ("a", "b"),
    thresholds: tuple[float | None, float | None] = (None, None),
    seed: int = 0,
) -> ClassComparison:
    """Paired differences ``b - a`` of two models' answers about the same cases.

    Args:
        truth: Class index of each of n cases.
        a: Probabilities of one model, ``(n, k)``.
        b: Those of the other.
        names: The k classes.
        groups: Patient of each case.
        models: How to call the two.
        thresholds: Operating threshold of each, as in `evaluate_classes`.
        seed: Of the bootstrap and the permutations.

    Raises:
        InputError: As in `evaluate_classes`.
    """
    pair = [check_answers(truth, p, names, groups, t) for p, t in zip((a, b), thresholds, strict=True)]
    index, count = group_index(pair[0].groups)
    draws = pair[0].draws(seed)
    whole, drawn = zip(*(summarise_answers(table, draws) for table in pair), strict=True)
    n = len(pair[0].truth)
    rng = np.random.default_rng(seed)
    p_values: dict[str, float] = {}
    if draws is not None:
        for key, one, two in zip(("accuracy", "log_loss", "brier"), *map(case_scores, pair), strict=True):
            p_values[key] = float(sign_flip_p(sum_groups(two - one, index, count)[:, None] / n, rng=rng)[0])
        positive = pair[0].positive(1)
        sides = [len(np.unique(index[side])) for side in (positive, ~positive)]
        if len(names) == 2 and min(sides) > 1:
            one, two = (table.probability[:, 1] for table in pair)
            p_values["auc"] = compare_areas(positive, one, two, pair[0].groups).p
    differences = {}
    for key in SCORES:
        if key not in whole[0] or SCORES[key].higher is None:
            continue
        gap = None if draws is None else drawn[1][key] - drawn[0][key]
        differences[key] = _difference(key, whole[0][key], whole[1][key], gap, p_values.get(key), n)
    return ClassComparison(
        a=models[0],
        b=models[1],
        n=n,
        groups=count,
        scores=differences,
        conventions=_CONVENTIONS
        | {
            "p": "two-sided, not corrected for the number of scores. AUC: DeLong's test, by clusters (Obuchowski "
            "1997). Accuracy, Brier score, log loss: signs of whole groups' differences flipped. Others: none."
        },
    )


def _difference(key: str, a: Array, b: Array, gap: Array | None, p: float | None, n: int) -> Difference:
    one, two = finite(a[0]), finite(b[0])
    if one is None or two is None:
        return Difference(a=one, b=two, value=None, n=n, better="unclear")
    low, high = (None, None) if gap is None else ends_of(gap)
    better = "unclear"
    if low is not None and high is not None and not low <= 0 <= high:
        better = "b" if (low > 0) == SCORES[key].higher else "a"
    return Difference(a=one, b=two, value=two - one, low=low, high=high, p=p, n=n, better=better)


def _cases(table: Answers, labels: Sequence[str], sources: Sequence[str]) -> list[CaseAnswer]:
    return [
        CaseAnswer(
            name=labels[i],
            group=table.groups[i],
            source=sources[i],
            truth=table.names[int(table.truth[i])],
            called=table.names[int(called)],
            probability=table.probability[i].tolist(),
        )
        for i, called in enumerate(table.called)
    ]


def _details(table: Answers, target: int, index: Array, draws: Array | None) -> ClassDetails:
    positive, score = table.positive(target), table.probability[:, target]
    bins = equal_mass(score)
    whole = pool(positive.astype(float), score, bins, index, np.ones((1, int(index.max()) + 1)))
    return ClassDetails(
        curves=_curves(positive, score),
        decision=_decision(positive, score, index, draws),
        reliability=_reliability(positive, score, index, draws),
        histogram=np.histogram(score, bins=20, range=(0, 1))[0].tolist(),
        brier=BrierParts(**brier_parts(positive.astype(float), score)._asdict()),
        calibration_error_plain=float(calibration_error(whole, scatter=0)[0]),
        calibration_error_chance=chance_error(score, bins),
    )


def _curves(positive: Array, score: Array) -> ClassCurves:
    found = cuts(positive, score)
    positives, negatives = found.tp[-1], found.fp[-1]
    fpr = sensitivity = recall = precise = np.empty(0)
    if positives and negatives:
        # A point in the middle of a straight line is not needed.
        run, rise = np.diff(found.fp), np.diff(found.tp)
        bend = np.r_[True, run[1:] * rise[:-1] != run[:-1] * rise[1:], True]
        fpr, sensitivity = _thin(found.fp[bend] / negatives), _thin(found.tp[bend] / positives)
    if positives:
        recall, precise = _thin(found.tp[1:] / positives), _thin(found.tp[1:] / (found.tp[1:] + found.fp[1:]))
    return ClassCurves(
        fpr=fpr.tolist(), sensitivity=sensitivity.tolist(), recall=recall.tolist(), precision=precise.tolist()
    )


def _thin(values: Array) -> Array:
    kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), _POINTS)).round().astype(int))
    return np.asarray(values[kept])


def _decision(positive: Array, score: Array, index: Array, draws: Array | None) -> DecisionCurve:
    called, ill, n = score[:, None] >= GRID, positive[:, None], len(score)
    worth = net_benefit(called & ill, called & ~ill, 1.0, GRID)  # what each case adds
    low = high = np.empty(0)
    if draws is not None:
        low, high = percentile_interval(resample_means(worth, index, draws))
    return DecisionCurve(
        threshold=GRID.tolist(),
        model=(worth.sum(axis=0) / n).tolist(),
        low=low.tolist(),
        high=high.tolist(),
        treat_all=treat_all(positive.mean(), GRID).tolist(),
    )


def _reliability(positive: Array, score: Array, index: Array, draws: Array | None) -> list[ReliabilityBin]:
    bins, ill = equal_mass(score), positive.astype(float)
    whole = pool(ill, score, bins, index, np.ones((1, int(index.max()) + 1)))
    low = high = np.full(whole.n.shape[1], np.nan)
    if draws is not None:
        drawn = pool(ill, score, bins, index, draws)
        with np.errstate(invalid="ignore"):
            low, high = percentile_interval(drawn.positive / drawn.n)
    return [
        ReliabilityBin(
            n=int(n),
            probability=float(expected / n),
            frequency=float(hit / n),
            low=finite(low[i]),
            high=finite(high[i]),
        )
        for i, (n, hit, expected) in enumerate(zip(whole.n[0], whole.positive[0], whole.expected[0], strict=True))
    ]


def _sources(table: Answers, sources: Sequence[str], seed: int, resamples: int) -> list[SourceScores]:
    origin = np.asarray(sources, dtype=object)
    if len(set(sources)) < 2:
        return []
    rows = []
    for source in sorted(set(sources)):
        part = table.part(origin == source)
        n, count = len(part.truth), group_index(part.groups)[1]
        draws = part.draws(seed, resamples)
        whole, drawn = summarise_answers(part, draws)
        there = {name: int(np.sum(part.truth == i)) for i, name in enumerate(part.names)}
        held = [name for name, number in there.items() if number]
        notes = []
        if len(held) == 1:
            notes.append(f"All its cases, {n}, are {held[0]}: nothing tells how well the classes are told apart.")
        if draws is None:
            notes.append(f"No intervals: fewer than {FEWEST_GROUPS} groups, found {count}.")
        scores = scored(whole, drawn, n)
        if len(part.targets) == 1:
            notes += _without_width(part, part.names[1], scores)
        kept = {key: scores[key] for key in ("auc", "accuracy", "sensitivity", "specificity")}
        rows.append(SourceScores(source=source, n=n, groups=count, cases=there, scores=kept, note=" ".join(notes)))
    return rows


def _baselines(table: Answers, sources: Sequence[str]) -> dict[str, dict[str, float | None]]:
    k, n = len(table.names), len(table.truth)
    hot = np.eye(k)[table.truth]
    share = hot.mean(axis=0)
    _, origin = np.unique(np.asarray(sources, dtype=object).astype(str), return_inverse=True)
    rivals = {"always " + table.names[int(share.argmax())]: np.tile(np.eye(k)[share.argmax()], (n, 1))}
    rivals["prevalence"] = np.tile(share, (n, 1))
    held = int(origin.max()) + 1
    if held > 1 and n >= held * _FEWEST_OF_SOURCE:
        by_source = sum_groups(hot, origin, held)
        rivals["source alone"] = (by_source / by_source.sum(axis=1, keepdims=True))[origin]
    out = {}
    for name, probability in rivals.items():
        whole, _ = summarise_answers(replace(table, probability=probability), None)
        if name.startswith("always "):  # an answer without doubt has no log loss worth telling
            whole = {key: value for key, value in whole.items() if key in COUNTED}
        out[name] = {key: finite(whole[key][0]) for key in SCORES if key in whole}
    return out


def _notes(table: Answers, classes: Mapping[str, Mapping[str, ClassScore]], count: int) -> list[str]:
    notes = []
    if count < FEWEST_GROUPS:
        notes.append(
            f"No intervals: a bootstrap asks for {FEWEST_GROUPS} groups or more, found {count}. Each score is that of "
            "a handful of patients."
        )
    for target, scores in classes.items():
        empty: dict[str, list[str]] = {}
        for key, score in scores.items():
            if score.value is None:
                empty.setdefault(SCORES[key].undefined, []).append(SCORES[key].title)
        notes += [f"Not defined for {target} because {why}: {', '.join(titles)}." for why, titles in empty.items()]
        lost = [f"{SCORES[key].title} {100 * s.left_out:.1f} %" for key, s in scores.items() if s.left_out > 0]
        if lost:
            notes.append(
                f"Resamples that do not define a score of {target}, often with one class only, were left out of its "
                f"interval: {', '.join(lost)}."
            )
        notes += _without_width(table, target, scores)
    return notes


def _without_width(table: Answers, target: str, scores: Mapping[str, ClassScore]) -> list[str]:
    """What to say where every resample is perfect, or wrong throughout: the bootstrap cannot see beyond the data."""
    index, _ = group_index(table.groups)
    positive = table.positive(table.names.index(target))
    notes = []
    for key, side in (("sensitivity", positive), ("specificity", ~positive)):
        s = scores[key]
        if s.value in (0.0, 1.0) and s.low == s.high == s.value:
            held = len(np.unique(index[side]))
            notes.append(
                f"The interval of the {key} of {target} has no width because every resample gives {s.value:.0f}. That "
                f"is no certainty: over {held} groups the true value may well lie {min(3 / held, 1.0):.3f} away (rule "
                "of three)."
            )
    return notes


def _conventions(
    table: Answers, prevalence: float | None, classes: Mapping[str, Mapping[str, ClassScore]]
) -> dict[str, str]:
    rules = dict(_CONVENTIONS)
    rules["threshold"] = (
        "the most probable class is called."
        if table.threshold is None
        else f"{table.names[1]} from a probability of {table.threshold:.4g} on."
    )
    if prevalence is not None:
        rules["prevalence"] = f"predictive values at a stated prevalence are for {prevalence:.4g}."
    used = {key for scores in classes.values() for key in scores}
    for key, fact in SCORES.items():
        if key in used:
            empty = f" Not defined where {fact.undefined}." if fact.undefined else ""
            rules[f"score: {fact.title}"] = f"{fact.formula}.{empty}"
    return rules
