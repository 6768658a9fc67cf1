"""A fresh process that loads a model, answers once, and says so: the other end of a cold start.

Its argument is the plan of the subject as JSON. It prints one line after the first answer, then one after some more
calls with the peak of its memory; or one line with an error.
"""

import json
import os
import sys

CALLS = 20


def main() -> None:
    """Load, answer, report."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints goes to standard error, never between the answers
    from gatewise.core import GatewiseError

    from ._subject import SubjectPlan, load_subject

    def say(content: dict[str, object]) -> None:
        answers.write(json.dumps(content, allow_nan=False) + "\n")
        answers.flush()

    try:
        found = load_subject(SubjectPlan(**json.loads(sys.argv[1])), warm=False)
    except GatewiseError as error:
        say({"error": str(error)})
        return
    say({"load_s": found.load_s, "first_s": found.first_s, "implementation": found.implementation})

    from gatewise.measure import peak_over

    peak, _ = peak_over(0, lambda: found.call([0]), calls=CALLS)
    import resource

    peak = max(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    say({"peak_bytes": peak, "size_bytes": found.size_bytes, "size_of": found.size_of})


if __name__ == "__main__":
    main()
