"""The cases of study `mind`: one image each, of the modality of their cohort."""

from dataclasses import replace

from noisyseg import datasets

UNKNOWN = 255  # label of voxels whose truth nobody knows


def cases_of(params, cohort, *, labelled=True):
    """The cases of a cohort, each with the image of the cohort's modality alone.

    Parameters
    ----------
    params : Params
    cohort : str
    labelled : bool
        Whether a case must have labels.

    Returns
    -------
    list of casefiles.Case

    Raises
    ------
    FileNotFoundError
        As `datasets.cases_of`.
    """
    where = params.cohorts[cohort]
    (modality,) = where.modalities
    found = datasets.cases_of(where, cohort, [modality], labelled=labelled)
    return [replace(case, images={modality: case.images[modality]}) for case in found]


def source_cases(params):
    """The cases of the source cohort that learn, and the last ones, that only watch.

    Returns
    -------
    seen, watched : lists of casefiles.Case
        Both have at least one.

    Raises
    ------
    ValueError
        If there is one case only.
    """
    cases = cases_of(params, params.mind.source)
    if len(cases) < 2:
        raise ValueError(
            f"cohort {params.mind.source} must have at least two cases, one of which "
            f"watches, got {len(cases)}; add cases"
        )
    n_watched = min(max(1, round(params.mind.watched * len(cases))), len(cases) - 1)
    return cases[:-n_watched], cases[-n_watched:]


def load_image(case):
    """The image of a case on its own grid, canonical, Volume of float32."""
    (modality,) = case.images
    return datasets.load_image(case, modality)


def recoded(labels, case, classes):
    """Labels of a case in the places of `classes`, uint8; 255 is unknown."""
    groups = {name: (name,) for name in classes}
    return datasets.recode(labels, case, groups, UNKNOWN, name="classes")


def load_labels(case, classes):
    """A case's own labels on their own grid, in the places of `classes`, uint8."""
    return recoded(datasets.load_labels(case), case, classes)
