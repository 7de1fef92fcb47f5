"""How good slugs are: metrics a row, intervals over rows, baselines, and the records of runs.

The baselines need no training; two of them see the text, which a model never does.

In: predicted slugs beside those that people wrote. Out: values with 95 % intervals, and run
records, small plain files that are read back by name. It knows `common`, `embedding` and `data`.
"""

from .intervals import Interval, compare, summarise
from .metrics import evaluate, token_overlap
from .records import Run, open_run

__all__ = ["Interval", "Run", "compare", "evaluate", "open_run", "summarise", "token_overlap"]
