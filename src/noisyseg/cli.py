"""The command `noisyseg`: data, labels and segmentations for people, stages for DVC."""

import argparse
import sys
from pathlib import Path

EXPECTED = (OSError, ValueError, TypeError, KeyError, FloatingPointError, RuntimeError)


def main(argv=None):
    """Run one command; a mistake of input ends with one line and exit status 2."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except EXPECTED as error:
        if arguments.debug:
            raise
        text = error.args[0] if isinstance(error, KeyError) else error
        print(f"noisyseg: {text}", file=sys.stderr)
        return 2


def _parser():
    parser = argparse.ArgumentParser(prog="noisyseg", description=__doc__)
    parser.add_argument(
        "--debug", action="store_true", help="show where an error arose"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_data(commands)
    _add_check(commands)
    _add_label(commands)
    _add_segment(commands)
    _add_register(commands)
    _add_course(commands)
    _add_verify(commands)
    _add_stage(commands)
    _add_trace(commands)
    return parser


def _add_data(commands):
    data = commands.add_parser("data", help="make the default cohorts (minutes)")
    data.add_argument("--out", type=Path, default=Path("data"), help="folder to make")
    data.add_argument(
        "--scale", help="a scale of params.yaml; default the one in force"
    )
    data.add_argument("--from-labelmaps", type=Path, metavar="DIR")
    data.add_argument("--coding", help="what the values of the label maps mean")
    data.set_defaults(run=_data)


def _add_check(commands):
    check = commands.add_parser("check", help="tell what is wrong with a data set")
    check.add_argument("folder", type=Path, metavar="DIR")
    check.add_argument("--reader", required=True, help="mrbrains13, wmh2017, ...")
    check.add_argument(
        "--strict", action="store_true", help="exit with status 1 if there is a fault"
    )
    check.set_defaults(run=_check)


def _add_label(commands):
    label = commands.add_parser(
        "label", help="label a head by EM from T1, or T1 and T2"
    )
    _add_images(label)
    label.add_argument("--t2", type=Path, help="registered to the T1 when grids differ")
    label.add_argument("--atlas", type=Path, help="default: that of the head cohort")
    label.set_defaults(run=_label)


def _add_segment(commands):
    segment = commands.add_parser("segment", help="segment a head by a trained network")
    _add_images(segment)
    segment.add_argument("--weights", type=Path, required=True, help="a run's folder")
    segment.set_defaults(run=_segment)


def _add_register(commands):
    register = commands.add_parser("register", help="bring a scan onto another one")
    register.add_argument("--fixed", type=Path, required=True)
    register.add_argument("--moving", type=Path, required=True, help="any modality")
    register.add_argument("--labels", type=Path, help="of the moving scan")
    register.add_argument(
        "--out", type=Path, required=True, help="W: also writes W_field and W_labels"
    )
    register.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    register.set_defaults(run=_register)


def _add_images(parser):
    parser.add_argument("--t1", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="labels to write")
    parser.add_argument("--png", type=Path, help="also write a picture of the labels")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def _add_course(commands):
    course = commands.add_parser("course", help="notebooks with and without solutions")
    course.add_argument("--out", type=Path, default=Path("course"), metavar="DIR")
    course.set_defaults(run=_course)


def _add_verify(commands):
    verify = commands.add_parser("verify", help="compare results with committed ones")
    verify.add_argument("studies", nargs="*", metavar="STUDY", help="default all")
    verify.add_argument(
        "--against", default="HEAD", metavar="WHAT", help="a revision or a folder"
    )
    verify.add_argument(
        "--rerun",
        type=Path,
        metavar="DIR",
        help="first make all anew, in a clone",
    )
    verify.add_argument("--exact", action="store_true", help="no number may move")
    verify.set_defaults(run=_verify)


def _add_stage(commands):
    stage = commands.add_parser("stage", help="run one stage of dvc.yaml")
    names = ("atlas", "labels", "noise", "contours", "propagate", "train")
    names += ("notebook", "trace", "report")
    stage.add_argument("stage", choices=names)
    stage.add_argument("name", nargs="?", help="cohort, study or notebook")
    stage.set_defaults(run=_stage)


def _add_trace(commands):
    trace = commands.add_parser("trace", help="tell where a number of a report is from")
    trace.add_argument("study", metavar="STUDY")
    trace.add_argument("arm", metavar="ARM")
    trace.add_argument("structure", metavar="STRUCTURE")
    trace.add_argument("--metric", default="dice")
    trace.add_argument("--reference", help="default: the first in the study's table")
    trace.add_argument(
        "--where", nargs="+", default=[], metavar="KEY=VALUE", help="e.g. scenario=wmh"
    )
    trace.add_argument("--png", type=Path, help="picture of the worst case")
    trace.set_defaults(run=_trace)


def _data(arguments):
    from noisyseg import params, stages

    if (arguments.from_labelmaps is None) != (arguments.coding is None):
        raise ValueError(
            "--from-labelmaps and --coding must be given together, got one of them; "
            "name both"
        )
    settings = params.load(scale=arguments.scale)
    stages.make_data(
        settings, arguments.out, arguments.from_labelmaps, arguments.coding
    )


def _check(arguments):
    """Print the faults; the exit status, 1 for faults when asked to be strict."""
    from noisyseg import checking, datasets

    cases = datasets.read(arguments.folder, arguments.reader)
    table = checking.check_cases(cases)
    print(checking.describe(table, len(cases)))
    return int(arguments.strict and not table.empty)


def _label(arguments):
    from noisyseg import atlases, software, workers

    t1, images = _read_images(arguments)
    atlas = atlases.read(arguments.atlas or software.atlas_path("head"))
    found = software.label_head(images, atlas, workers.device(arguments.device))
    _write_labels(found, t1, images[0], arguments)


def _segment(arguments):
    from noisyseg import studies, workers

    t1, images = _read_images(arguments)
    device = workers.device(arguments.device)
    found = studies.segment_head(arguments.weights, images, device)
    _write_labels(found, t1, images[0], arguments)


def _register(arguments):
    """Write the warped scan, its field in mm (RAS+) and, if given, its labels."""
    from noisyseg import displacements, registration, volume, workers

    _check_ending(arguments.out, ".nii", ".nii.gz")
    fixed, moving = map(volume.read_image, (arguments.fixed, arguments.moving))
    labels = arguments.labels and volume.read_labels(arguments.labels)
    if labels:
        volume.check_same_grid(moving, labels, "moving", "labels")
    device = workers.device(arguments.device)
    field = registration.register(fixed, moving, device=device)
    warped = {"": registration.warp(moving, field)}
    if labels:
        warped["_labels"] = registration.warp(labels, field, order=0)
    bare, dot, ending = arguments.out.name.partition(".nii")
    place = {key: arguments.out.with_name(f"{bare}{key}{dot}{ending}")
             for key in (*warped, "_field")}  # fmt: skip
    displacements.write(place["_field"], field)
    for key, found in warped.items():
        volume.write(place[key], found)
    print(*place.values(), sep="\n")


def _read_images(arguments):
    """The T1 as stored, and all images in canonical orientation."""
    from noisyseg import volume

    _check_ending(arguments.out, ".nii", ".nii.gz")
    if arguments.png:
        _check_ending(arguments.png, ".png")
    paths = [arguments.t1, *filter(None, [getattr(arguments, "t2", None)])]
    stored = [volume.read_image(path) for path in paths]
    return stored[0], [volume.to_canonical(image) for image in stored]


def _check_ending(path, *endings):
    if not path.name.endswith(endings):
        raise ValueError(
            f"output must end in {' or '.join(endings)}, got {path}; name it so"
        )


def _write_labels(found, t1, canonical, arguments):
    """Write labels on the T1's own grid, and the picture when one is asked for."""
    from noisyseg import figures, labeltables, volume

    if arguments.png:
        figures.overlay_png(canonical, found, labeltables.HEAD, arguments.png)
    volume.write(arguments.out, volume.resample(found, t1, order=0))
    print(arguments.out)


def _course(arguments):
    from noisyseg import course

    for path in course.write(arguments.out):
        print(f"kept what was changed: {path}")
    for whom in ("reader", "teacher"):
        print(arguments.out / whom)


def _verify(arguments):
    """Print a line for each table; the exit status, 1 when one of them changed."""
    from noisyseg import environment, params, reruns, verification

    committed = reruns.read(arguments.against)
    if arguments.rerun:
        present = reruns.make(arguments.rerun)
    else:
        present = reruns.read_folder(reruns.REPORTS)
    told = committed.get(reruns.ENVIRONMENT)
    print(environment.compare(told, environment.describe(params.load())))
    outcomes = []
    for outcome in verification.compare(
        committed, present, arguments.studies, exact=arguments.exact
    ):
        print(verification.describe(outcome), flush=True)
        outcomes.append(outcome)
    print(verification.conclude(outcomes))
    return int(any(outcome.verdict == verification.CHANGED for outcome in outcomes))


def _stage(arguments):
    from noisyseg import params, provenance

    settings = params.load()
    with provenance.guarded(arguments.stage, arguments.name, settings):
        from noisyseg import stages  # whose code has been hashed by now

        stages.run(arguments.stage, arguments.name, settings)


def _trace(arguments):
    """Print what made a number, then draw its worst case."""
    from noisyseg import params, tracing, tracing_text

    if arguments.png:
        _check_ending(arguments.png, ".png")
    number = tracing.find(
        arguments.study,
        arguments.arm,
        arguments.structure,
        metric=arguments.metric,
        reference=arguments.reference,
        where=dict(map(_pair, arguments.where)),
    )
    settings = params.load()
    print(tracing_text.describe(settings, number))
    png = arguments.png or tracing_text.picture_path(number)
    print(tracing_text.draw_worst(settings, number, png), png, sep="\n  ")


def _pair(text):
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"where must be KEY=VALUE, got {text!r}; write scenario=wmh")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
