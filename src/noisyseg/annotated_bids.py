"""BIDS trees whose annotation lies beside them, as the digital heads with lesions.

``sub-*/[ses-*/]anat/sub-*_<modality>.nii[.gz]``, and in ``derivatives/annotation`` a
``sub-*/[ses-*/]anat/sub-*_dseg.nii[.gz]`` each, whose values ``dseg.tsv`` names.
"""

from pathlib import Path

from noisyseg import labeltables
from noisyseg.casefiles import Case, Coding, image_files, subject_name

ANNOTATION = "derivatives/annotation"
TRUTH = "derivatives/truth"


def read_truth(folder):
    """The cases of a digital cohort with its truth in place of its annotation."""
    return read_bids(folder, TRUTH)


def read_bids(folder, derivative=ANNOTATION):
    """The cases of a BIDS tree with its annotation; each session is one.

    Parameters
    ----------
    folder : str or Path
    derivative : str
        The folder of the annotation in it.

    Returns
    -------
    list of Case
        As soon as one case has labels, all should have some.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no table of what the values mean.
    ValueError
        If a case has two images of one modality, or two of labels.
    """
    images, annotation = {}, {}
    for place, path in image_files(folder):
        part, kind = images, place.name.rsplit("_", 1)[-1]
        if place.is_relative_to(derivative):
            part, place = annotation, place.relative_to(derivative)
        if place.parts[0].startswith("sub-") and place.parent.name == "anat":
            subject = subject_name(place.parent.parent, folder)
            if part is images or kind == "dseg":
                _add(part.setdefault(subject, {}), subject, kind, path)
    table = labeltables.read(Path(folder) / derivative / "dseg.tsv")
    coding = Coding(dict(enumerate(table.names)))
    every = tuple(sorted({m for found in images.values() for m in found}))
    return [
        Case(
            subject,
            found,
            _labels(annotation, subject),
            coding,
            every,
            bool(annotation),
        )
        for subject, found in images.items()
    ]


def _add(files, subject, kind, path):
    if kind in files:
        raise ValueError(
            f"{kind} of {subject} must be one file, got {files[kind].name} and "
            f"{path.name}; leave one in the folder"
        )
    files[kind] = path


def _labels(annotation, subject):
    found = annotation.get(subject)
    return {"reference": found["dseg"]} if found else {}
