"""The HTML of a data set's report in a notebook."""

from collections import Counter
from typing import TYPE_CHECKING

from pixelwise.visualization import html

if TYPE_CHECKING:
    from pixelwise.data.analysis.inspection import DatasetReport

_SHOWN_KINDS = 10
"""Maximum number of kinds of issues that are listed."""

_SHOWN_CLASSES = 60
"""Maximum number of classes in the table."""


def report_html(report: "DatasetReport") -> str:
    """Return the HTML of a report: the counts, the obstacle, the classes, and the first issue of each kind."""
    data = report.data
    title = f"<b>{html.text(data.root)}</b> ({html.text(data.format)}): {report.image_count:,} images"
    size = ""
    if report.widths and report.heights:
        size = f", the median size is {report.widths.median:.0f}×{report.heights.median:.0f} pixels"
    obstacle = html.paragraph(f"<b>{html.text(report.obstacle, max_length=500)}</b>") if report.obstacle else ""
    return html.block(
        html.paragraph(f"{title}, {report.mask_count:,} masks{size}"), obstacle, _class_table(report), _issues(report)
    )


def _class_table(report: "DatasetReport") -> str:
    rows = []
    for stats in report.classes[:_SHOWN_CLASSES]:
        side = "–" if stats.relative_size is None else f"{stats.relative_size.median:.1%}"
        cells = (f"{stats.pixel_fraction:.2%}", f"{stats.image_count:,}", f"{stats.object_count:,}", side)
        rows.append([html.class_name(stats.name, stats.color), *cells])
    if not rows:
        return ""
    more = len(report.classes) - len(rows)
    table = html.table(("class" if report.is_decided else "value", "pixels", "images", "objects", "object size"), rows)
    return table + (html.paragraph(f"and {more} more classes") if more else "")


def _issues(report: "DatasetReport") -> str:
    if not report.issues:
        return html.paragraph("no problems")
    counts = Counter(issue.kind for issue in report.issues)
    first = {issue.kind: issue for issue in reversed(report.issues)}
    lines = [
        f"<li>{html.text(kind)} ({count:,}): {html.text(first[kind], max_length=240)}</li>"
        for kind, count in counts.most_common(_SHOWN_KINDS)
    ]
    more = len(counts) - len(lines)
    lines += [f"<li>and {more} more kinds</li>"] if more else []
    return f'<ul style="margin:4px 0">{"".join(lines)}</ul>'
