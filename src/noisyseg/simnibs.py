"""Labels that SimNIBS made (headreco, charm), in the nine classes of HEAD."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from noisyseg import labeltables, volume
from noisyseg.choices import check_choice, listed

# Codes of charm's final_tissues by structure of HEAD. Blood (9) is settled by place;
# electrode (100) and saline (500) are added for stimulation and lie on the scalp, where
# the scan shows air.
CHARM_TISSUES = {
    "background": (0, 100, 500),
    "WM": (1,),
    "GM": (2,),
    "CSF": (3,),
    "bone": (4, 7, 8),  # generic, compact, spongy
    "skin": (5, 9, 10, 11, 12),  # scalp, blood, muscle, cartilage, fat
    "eyes": (6,),
}
CHARM_BLOOD = 9
# FreeSurfer ids in charm's segmentation/labeling: lateral (4, 43), inferior lateral
# (5, 44), third, fourth and fifth ventricle (14, 15, 72), choroid plexus (31, 63).
CHARM_VENTRICLES = (4, 5, 14, 15, 31, 43, 44, 63, 72)
CHARM_INTERNAL_AIR = 501


def subjects(folder):
    """Ids of the subjects that SimNIBS has finished or begun, sorted, list of str."""
    return sorted(_folders(folder))


def read_labels(folder, subject, software, reference):
    """SimNIBS's labels of one head in the nine classes of HEAD.

    Parameters
    ----------
    folder : str or Path
        Holds ``m2m_<subject>``.
    subject : str
        With or without ``sub-``.
    software : str
        ``headreco`` (SimNIBS 3) or ``charm`` (SimNIBS 4).
    reference : Volume
        The T1, whose grid the result has; its axes may have been reordered.

    Returns
    -------
    Volume with uint8 data

    Raises
    ------
    FileNotFoundError, ValueError
        A missing folder or file, unknown codes, another grid, nothing but background.

    Notes
    -----
    headreco: ``<subject>_masks_contr`` has the codes of HEAD. It lies on the grid of
    ``T1fs_conform``, which may differ from the T1's: the nearest voxel in world space
    is taken. ``<subject>_final_contr`` has other codes and is never read.

    charm: ``final_tissues``, overruled by ``segmentation/labeling`` for ventricles
    (choroid plexus included) and air inside the head, which the former lacks. Blood
    becomes CSF or skin, whichever of intracranial tissue and soft tissue lies nearer.
    ``label_prep/T1_upsampled`` holds labels (SimNIBS 4.1 to 4.5) and is never read.
    """
    check_choice("software", software, SOFTWARE)
    homes = _folders(folder)
    name = next(
        (s for s in (subject, subject.removeprefix("sub-")) if s in homes), None
    )
    if name is None:
        raise FileNotFoundError(
            f"{folder} must hold m2m_{subject}, got {listed(homes)}; run SimNIBS for "
            "this subject or name the right folder"
        )
    labels = SOFTWARE[software](homes[name], name, reference)
    volume.check_not_empty(labels, f"{homes[name].name} on the reference's grid")
    return volume.Volume(labels.data.astype(np.uint8), reference.affine)


def _folders(folder):
    homes = (home for home in Path(folder).glob("m2m_?*") if home.is_dir())
    return {home.name.removeprefix("m2m_"): home for home in homes}


def _headreco(home, name, reference):
    """Labels of ``<name>_masks_contr``, nearest in world space on the T1's grid."""
    path = home / f"{name}_masks_contr.nii.gz"
    if not path.exists() and (home / f"{name}_final_contr.nii.gz").exists():
        raise FileNotFoundError(
            f"{path} must exist, got only {name}_final_contr.nii.gz, which codes eyes "
            "as 6, has no ventricles and may not stand in; keep masks_contr"
        )
    labels = volume.read_labels(path, labeltables.HEAD)
    inside, beside = "T1fs_conform.nii.gz", f"{name}_T1fs_conform.nii.gz"
    for conform in (home / inside, home.parent / beside):
        if conform.exists():
            grid = volume.read_image(conform)
            volume.check_same_grid(grid, labels, conform.name, path.name)
    return volume.resample(labels, reference, order=0)


def _charm(home, name, reference):
    """Labels of ``final_tissues`` with ``segmentation/labeling``, on the T1's grid."""
    paths = home / "final_tissues.nii.gz", home / "segmentation" / "labeling.nii.gz"
    tissues, regions = (_same_voxels(path, reference) for path in paths)
    data = _from_charm(paths[0], tissues.data)
    _place_blood(data, tissues.data == CHARM_BLOOD, reference.spacing_mm)
    data[np.isin(regions.data, CHARM_VENTRICLES)] = labeltables.HEAD.value("ventricles")
    data[regions.data == CHARM_INTERNAL_AIR] = labeltables.HEAD.value("cavities")
    return reference.with_data(data)


def _same_voxels(path, reference):
    """Labels of the reference's very voxels; only the order of the axes may differ."""
    labels = volume.read_labels(path)
    grids = volume.to_canonical(reference), volume.to_canonical(labels)
    volume.check_same_grid(*grids, "reference", f"{path.name} ({path.parent.name})")
    return volume.resample(labels, reference, order=0)


def _from_charm(path, tissues):
    """Codes of final_tissues as those of HEAD, uint8."""
    codes = np.full(max(max(c) for c in CHARM_TISSUES.values()) + 1, 255, np.uint8)
    for structure, values in CHARM_TISSUES.items():
        codes[list(values)] = labeltables.HEAD.value(structure)
    present = np.unique(tissues)
    stray = [int(v) for v in present if not 0 <= v < len(codes) or codes[v] == 255]
    if stray:
        raise ValueError(
            f"{path} must hold charm's codes 0 to 12, 100 or 500, got "
            f"{listed(stray)}; check the SimNIBS version"
        )
    return codes[tissues]


def _place_blood(data, blood, spacing_mm):
    """Blood (now skin) becomes CSF where brain or CSF lie nearer than soft tissue."""
    intracranial = [labeltables.HEAD.value(s) for s in ("WM", "GM", "CSF")]
    skin, csf = labeltables.HEAD.value("skin"), labeltables.HEAD.value("CSF")
    inner, outer = np.isin(data, intracranial), (data == skin) & ~blood
    if not blood.any() or not inner.any():
        return
    nearest = ndimage.distance_transform_edt(
        ~(inner | outer), spacing_mm, return_distances=False, return_indices=True
    )
    data[blood & inner[tuple(nearest)]] = csf


SOFTWARE = {"headreco": _headreco, "charm": _charm}
