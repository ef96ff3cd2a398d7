"""Two labelled sets that no default was chosen by, for `few_labels.py`, made of what package registries hold.

``editorials``: sentences of 500 newspaper editorials, rated by twenty readers each (Hutto and Gilbert 2014), from the
archive ``hutto_ICWSM_2014.tar.gz`` in the source package ``vaderSentiment`` 2.5; positive or negative by the sign of
the mean rating, an editorial is a group. ``packages``: what Debian's packages say of themselves in a line, by the
section that they stand in (the eight below), from ``apt-cache dumpavail``; a source package is a group.

    python benchmarks/unseen_sets.py editorials --archive hutto_ICWSM_2014.tar.gz > editorials.csv
    apt-cache dumpavail | python benchmarks/unseen_sets.py packages > packages.csv
"""

import argparse
import csv
import sys
import tarfile
from collections.abc import Iterable, Iterator

SECTIONS = ("admin", "games", "graphics", "mail", "net", "science", "sound", "web")
Row = tuple[str, str, str, str]


def main() -> None:
    """Write a set as CSV: id, group, text, label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["editorials", "packages"])
    parser.add_argument("--archive")
    options = parser.parse_args()
    rows = editorials(options.archive) if options.which == "editorials" else packages(sys.stdin)
    writer = csv.writer(sys.stdout)
    writer.writerow(("id", "group", "text", "label"))
    writer.writerows(rows)


def editorials(archive: str) -> Iterator[Row]:
    """Yield sentences with a rating other than zero."""
    with tarfile.open(archive) as files:
        file = files.extractfile("hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt")
        assert file is not None
        for line in file.read().decode("latin-1").splitlines():
            name, rating, text = line.split("\t")
            if float(rating):
                yield name, name.partition("_")[0], text.strip(), "positive" if float(rating) > 0 else "negative"


def packages(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the packages of `SECTIONS`, each text once."""
    seen, about = set(), dict[str, str]()
    for line in [*lines, "\n"]:
        if line.strip():
            name, colon, value = line.partition(": ")
            if colon and not line.startswith(" "):
                about[name] = value.strip()
            continue
        text = about.get("Description-en") or about.get("Description", "")
        section = about.get("Section", "").rpartition("/")[2]
        if section in SECTIONS and text and text not in seen:
            seen.add(text)
            yield about["Package"], about.get("Source", about["Package"]).partition(" ")[0], text, section
        about = {}


if __name__ == "__main__":
    main()
