"""What a test prints, by Lightning alone or with rich installed."""

import re


def shown_score(printed, metric):
    """Return the value of a metric in the table of scores, whatever its columns are drawn with."""
    return float(re.search(rf"{re.escape(metric)}[^\w.+-]+([\d.e+-]+)", printed)[1])
