"""Timings and errors beside memory copies, limits and peers; ``--help`` lists the options."""

import argparse
import ctypes
import json
import os
import sys
import time
from pathlib import Path

SECTIONS = ("join", "combine", "jax", "in_place", "sig", "accuracy")


def main() -> int:
    """Run what was asked for, print a table after the other, return the exit status."""
    options = _options()
    _limit_threads(options.xla_threads)  # before anything that reads it is imported
    sys.path.append(os.fspath(Path(__file__).parents[1]))  # the tests' oracle

    if options.keep_memory:
        _keep_memory()

    import accuracy
    import cases
    import in_place
    import jax_calls
    import join
    import machine
    import paths
    import products
    from timing import QUICK, Effort

    effort = QUICK if options.quick else Effort()
    joins = cases.QUICK_JOINS if options.quick else cases.JOINS
    path_cases = cases.QUICK_PATHS if options.quick else cases.PATHS
    dtypes = ["float32", "float64"] if options.f64 else ["float32"]
    sections = {
        "join": lambda: join.tables(joins, dtypes, effort),
        "combine": lambda: products.tables(joins, dtypes, effort),
        "jax": lambda: jax_calls.tables(joins, dtypes, effort),
        "in_place": lambda: in_place.tables(joins, dtypes, effort),
        "sig": lambda: paths.tables(path_cases, dtypes, effort),
        "accuracy": lambda: accuracy.tables(joins),
    }

    about = machine.describe(options.xla_threads, keep_memory=options.keep_memory)
    print(machine.head(about, markdown=options.markdown), flush=True)
    began, found = time.time(), {}
    for name in options.sections or SECTIONS:
        found[name] = sections[name]()
        for table in found[name]:
            print("\n" + table.text(markdown=options.markdown), flush=True)
    about |= {"load after": machine.load(), "seconds": round(time.time() - began)}
    missed = sum(table.missed for tables in found.values() for table in tables)
    print(f"\nload after: {about['load after']}; {about['seconds']} s; limits missed: {missed}")
    if options.json:
        rows = {name: [t.record() for t in tables] for name, tables in found.items()}
        options.json.write_text(json.dumps({"machine": about, "sections": rows}, indent=1) + "\n")
    return 1 if options.strict and missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none"
    )
    parser.add_argument("--quick", action="store_true", help="few sizes, few repeats: a rough look")
    parser.add_argument("--f64", action="store_true", help="float64 as well")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a limit is missed")
    parser.add_argument(
        "--xla-threads", type=int, default=1, metavar="N", help="of XLA's pool; 0: as it likes"
    )
    parser.add_argument(
        "--keep-memory",
        action="store_true",
        help="have glibc keep freed memory, so that no call pays for page faults",
    )
    options = parser.parse_args()
    if unknown := [name for name in options.sections if name not in SECTIONS]:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    return options


def _limit_threads(xla_threads: int) -> None:
    os.environ["JAX_PLATFORMS"] = "cpu"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    if xla_threads:
        os.environ["NPROC"] = str(xla_threads)  # the size of XLA's pool on the CPU


def _keep_memory() -> None:
    trim_threshold, mmap_threshold, most = -1, -3, 2**30  # names and numbers of glibc's malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    if not (mallopt(trim_threshold, most) and mallopt(mmap_threshold, most)):
        raise OSError("--keep-memory: glibc's mallopt refused")


if __name__ == "__main__":
    sys.exit(main())
