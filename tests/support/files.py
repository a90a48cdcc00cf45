"""Room for many connections in a process of a test."""

import resource

from tests.support.missing import missing

_OWN = 500
"""Files that a test's process may have open for other reasons."""


def allow_files(count: int) -> None:
    """Lets this process open so many more; the test is skipped where it may not."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most not in (-1, resource.RLIM_INFINITY) and most < count + _OWN:
        missing(f"no more than {most} files may be open (ulimit -Hn), and {count + _OWN} are needed")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + _OWN), most))
