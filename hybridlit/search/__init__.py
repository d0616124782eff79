"""Search: the best of many recipes, hybrid ones and classical ones, with equal trials."""

try:
    import optuna  # noqa: F401
except ImportError as error:
    raise ImportError("a search needs Optuna: pip install 'hybridlit[search]'") from error

from hybridlit.search.study import Search, run_search
from hybridlit.search.summary import SearchSummary, summarize_search

__all__ = ["Search", "SearchSummary", "run_search", "summarize_search"]
