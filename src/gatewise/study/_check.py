"""What can be said of a part before anything is built. It needs torch, so it is imported when it is called."""

from ._plan import Part


def check_part(part: Part) -> None:
    """Check a part's workload, options, arms and runtimes. Raises `GatewiseError` with the nearest name.

    A function of the user's own is imported, and not called. `MissingExtraError` says which package is not installed.
    """
    from ._prepare import check_names, subject_workload
    from ._training import check_trainable

    made = subject_workload(part)
    check_names(part, made)
    if part.train:
        check_trainable(part, made)
