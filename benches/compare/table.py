"""The table: what was measured, what beside it, ratio, target."""

import sys


class Table:
    """Rows of: what, measured, reference, ratio or target."""

    def __init__(self):
        self.lines = ["| what | measured | beside | ratio | target |", "| --- | ---: | ---: | ---: | ---: |"]

    def row(self, what, measured, beside="", ratio="", target=""):
        self.lines.append(f"| {what} | {measured} | {beside} | {ratio} | {target} |")
        print(self.lines[-1], file=sys.stderr, flush=True)

    def beside(self, subject, reference, target=""):
        """A row of CPU per request and its ratio to the reference's."""
        measured = f"{subject.cost:.1f} µs, {subject.rate:,.0f}/s"
        ratio = f"{subject.cost / reference.cost:.2f}"
        self.row(subject.name, measured, f"{reference.name} {reference.cost:.1f} µs", ratio, target)
