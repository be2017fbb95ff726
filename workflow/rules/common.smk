"""Names and functions that the rules share; what is more than a line is in beansweep.settings."""

import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

# A parameter that is a Path and not text is never compared: to move the project reruns nothing.
SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))

from beansweep.common import user, versions, working_folder
from beansweep.common.errors import UserError
from beansweep.settings import code_digest, cost, kept_digests, resources, sweep, unfinished
from beansweep.settings.rule_text import alternatives, not_compared, option, settings

RECORDS, RESULTS = Path(".snakemake"), Path("results")
CACHE = RECORDS / "beansweep"
# What `make arm` sets up; a Path, so it is not compared either.
EMULATOR = Path(workflow.basedir) / ".emulator"
versions.offer_this_python()
user.name_unknown()


def checked(function, *arguments):
    """Call a function; where it fails, end Snakemake with its one sentence and no traceback."""
    try:
        return function(*arguments)
    except (UserError, code_digest.Untraceable) as error:
        sentence = str(error)
    except OSError as error:
        sentence = f"{error.filename} cannot be read or written ({error.strerror}): fix that"
    print(f"beansweep: {sentence}", file=sys.stderr)
    sys.exit(1)


CODE = checked(kept_digests.of_stages, SCRIPTS, CACHE / "code.json")


def code(script):
    """The digest of a stage's code."""
    return CODE[script]


def mem_mb(wildcards, attempt, rulename):
    """Memory that a job asks a cluster for; more where it was killed before."""
    return resources.mem_mb(SWEEP, rulename, wildcards.get("backbone")) * attempt


def runtime(wildcards, attempt, rulename):
    """Minutes that a job asks a cluster for."""
    return resources.minutes(SWEEP, rulename, wildcards.get("backbone")) * attempt


def run_cores():
    """The cores of this run; None where Snakemake was given none, as on a cluster and for --dag."""
    try:
        return workflow.cores
    except WorkflowError:
        return None


def bench_threads(wildcards):
    """The cores of a bench."""
    return SWEEP.bench_threads(run_cores())


@cache
def incomplete_runs():
    """The runs that a report of the complete backbones lacks, and why; the same in all of a run."""
    return checked(unfinished.missing_from_partial_report, SWEEP)


def warn_of_other_versions():
    """Say which results are of other versions, or of unknown ones; nothing reruns for that."""
    warning = working_folder.lost_records(RESULTS, RECORDS)
    warning = warning or checked(versions.changed, RESULTS / "logs")
    if warning:
        # Standard output is for --dag and its like.
        print(warning, file=sys.stderr)


def claim_folder():
    """Claim the working folder until this process ends, and check that it can be written."""
    global CLAIM
    CLAIM = checked(working_folder.claim, RECORDS)
    checked(working_folder.check_writable, RESULTS)
    checked(working_folder.clamp_future_mtimes, RESULTS)


def tell_what_finished():
    """After a run that failed: which stages were killed, and how to report what is complete."""
    started = working_folder.claimed_at(RECORDS)
    print(*unfinished.after_failure(SWEEP, started, run_cores()), sep="\n", file=sys.stderr)
