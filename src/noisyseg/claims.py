"""The claims ledger: what the papers say, sentence by sentence, and what we find.

The claims are those of `claimrows`, what we find comes from `findings`; the verdict
follows from both by rule.
"""

import numpy as np
import pandas as pd

from noisyseg.claimrows import (
    KINDS,
    MARK,
    VERDICTS,
    WITHOUT,
    Claim,
    contradictions,
    expression,
    read,
    rule,
)
from noisyseg.findings import REPORTS, Finding, find

__all__ = ["KINDS", "MARK", "VERDICTS", "Claim", "Finding", "contradictions",
           "expression", "find", "judge", "ledger", "read", "rule"]  # fmt: skip
STAGES = {"sgl": "study@sgl", "robust": "study@robust"}  # others are named as the study


def ledger(claims, reports=REPORTS, *, strict=True):
    """What we find for every claim, and the verdict.

    Parameters
    ----------
    claims : list of Claim
    reports : Path
    strict : bool
        Whether a row that names nothing is an error, or else has no finding: a scale
        may leave out arms and strengths of noise.

    Returns
    -------
    DataFrame with columns id, study, kind, claim, source, published, ours, low, high,
        cases, verdict, rule (what would confirm it), expression (where our value
        comes from), figure, stage
    """
    rows = []
    for claim in claims:
        found = find(claim, reports) if strict else _find_or_none(claim, reports)
        ours = {} if found is None else {
            "ours": found.value, "low": found.low, "high": found.high
        } | {"cases": found.cases}  # fmt: skip
        about = claim.model_dump(
            include={"id", "study", "kind", "claim", "source", "published", "figure"}
        )
        told = {"rule": rule(claim), "expression": expression(claim)}
        told |= {"stage": STAGES.get(claim.study, claim.study)}
        rows.append(about | ours | told | {"verdict": judge(claim, found)})
    columns = ["id", "study", "kind", "claim", "source", "published", "ours"]
    columns += ["low", "high", "cases", "verdict", "rule", "expression"]
    table = pd.DataFrame(rows).reindex(columns=[*columns, "figure", "stage"])
    return table.astype({"cases": "Int64"})


def judge(claim, found):
    """The verdict on a claim, one of `VERDICTS`.

    Parameters
    ----------
    claim : Claim
        With ``positive`` or ``negative`` a clear value of that sign confirms it, and
        one of the other sign refutes it. With ``near`` the interval within `tolerance`
        of what was published, or wholly beyond; with ``none`` the same about 0, where a
        clear value refutes it as well; with ``not worse`` an end below -`tolerance`
        tells, the higher one if it refutes, and the lower one if not. Where seeds
        spread further than the tolerance nothing is within it. ``real data`` would be
        needed for others, which are ``untested`` here, or seen by ``reading``.
    found : Finding or None
    """
    if claim.expects in WITHOUT:
        return WITHOUT[claim.expects]
    if found is None or np.isnan(found.value):
        return "inconclusive"
    if claim.expects in ("positive", "negative"):
        if not found.clear:
            return "inconclusive"
        agrees = (found.value > 0) == (claim.expects == "positive")
        return "reproduced" if agrees else "not reproduced"
    least, most = claim.middle - claim.tolerance, claim.middle + claim.tolerance
    if claim.expects == "not worse":
        most = np.inf
    if least <= found.low and found.high <= most:
        spread_out = found.seed_spread > claim.tolerance
        return "inconclusive" if spread_out else "reproduced"
    beyond = found.low > most or found.high < least
    refuted = beyond or (claim.expects == "none" and found.clear)
    return "not reproduced" if refuted else "inconclusive"


def _find_or_none(claim, reports):
    try:
        return find(claim, reports)
    except (FileNotFoundError, ValueError):
        return None
