"""Stages of CI by name: `nox` runs all, `nox -s lint` one. The commands stand in `.ci/run`, once."""

import nox

nox.options.default_venv_backend = "none"


def _stage(name: str, help_text: str) -> None:
    """Make a session that runs one stage of `.ci/run`."""

    def run(session: nox.Session) -> None:
        session.run("bash", ".ci/run", name, external=True)

    run.__doc__ = help_text
    nox.session(run, name=name)


_stage("lint", "Format and lint.")
_stage("types", "Strict types of src/.")
_stage("architecture", "Imports, sizes, public names.")
_stage("browser", "Install what the browser tests need.")
_stage("tests", "The README's test command.")
_stage("docs", "Every code block and link of README.md and docs/.")
_stage("judge", "The judge on streams whose truth is known.")
_stage("wheel", "Build the wheel and look into it.")
_stage("sanitize", "The native kernels under sanitizers.")
_stage("bare", "Start the wheel without the optional packages.")
_stage("demo", "The README's first command, with a short budget.")
