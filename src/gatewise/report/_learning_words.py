"""What is asked of a training, in plain words, in the order in which a newcomer would ask."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question: the metric that answers it (or one of the two that are worked out), a short name, what it means."""

    name: str
    label: str
    means: str


AT_EQUAL_TIME, SPEED_UP = "at_equal_time", "speed_up"

PLANNED = Asked(
    name="heldout_loss",
    label="loss at the end",
    means="How badly it predicts data it has not seen. Every schedule was planned to end after the same time.",
)
"""In place of the first question, where each arm has as many steps as the baseline's time holds of its own."""

LEARNS = (
    Asked(
        name="heldout_loss",
        label="loss at equal steps",
        means="How badly it predicts data it has not seen, all after as many steps.",
    ),
    Asked(
        name=AT_EQUAL_TIME,
        label="loss at equal time",
        means="The same when it and the baseline have trained equally long: until the quicker of the two is done.",
    ),
    Asked(
        name="heldout_accuracy",
        label="accuracy",
        means="How many held-out items it puts into the right class, all after as many steps.",
    ),
    Asked(
        name="generalisation_gap",
        label="gap to seen data",
        means="How much worse it is on unseen data than on seen: what it learnt by heart only.",
    ),
    Asked(name="shifted_loss", label="loss on other data", means="How badly it predicts data of another kind."),
    Asked(
        name="slice_gap",
        label="gap between slices",
        means="How much worse it is on its worst kind of data than on its best.",
    ),
)

FAST = (
    Asked(
        name="steps_to_target",
        label="steps to the target",
        means="After how many steps it is as good as the baseline is late in its own training.",
    ),
    Asked(name="step_time", label="time per step", means="How long one step takes on this machine."),
    Asked(name="time_to_target", label="time to the target", means="Both together: steps times time per step."),
    Asked(
        name=SPEED_UP,
        label="speed-up",
        means="How many times as fast it reaches the target, with the uncertainty of steps and of times.",
    ),
)

INSIDE = (
    Asked(
        name="dead_units",
        label="lost units",
        means="Hidden units that no longer learn at the end, for no gradient reaches them.",
    ),
    Asked(name="dead_units_most", label="lost units at worst", means="The same, at the worst moment of training."),
    Asked(
        name="saturated_units",
        label="saturated values",
        means="Hidden values where the function is flat, so that nothing is learnt through them.",
    ),
    Asked(name="gate_openness", label="open gates", means="Hidden values whose gate is open: its input is positive."),
    Asked(
        name="largest_hidden",
        label="largest hidden value",
        means="Of a gate the largest |gate × up|. Very large ones overflow in numbers of low precision.",
    ),
    Asked(
        name="gradient_spread",
        label="unevenness of gradients",
        means="How much the length of the gradient varies along training.",
    ),
    Asked(
        name="curvature_spread",
        label="unevenness of the ground",
        means="How much the curvature of the loss varies along training.",
    ),
)

TAKES = (Asked(name="training_memory", label="peak memory", means="The most memory that training steps held."),)

GROUPS = (
    ("How well it learns", LEARNS),
    ("How fast it gets there", FAST),
    ("What goes on inside", INSIDE),
    ("What it takes", TAKES),
)
