"""Tools that study models.

>>> from mossrt import research
>>> report = research.evaluate("tests/data/models/moss", ["Hello world"], ["float16", "bfloat16"])
>>> [score.dtype for score in report.formats]
['float32', 'float16', 'bfloat16']
"""

from mossrt.research.divergence import Divergence
from mossrt.research.report_card import FormatScore, Report, evaluate

__all__ = ["Divergence", "FormatScore", "Report", "evaluate"]
