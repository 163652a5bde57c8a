"""Selectors: which parameters and which layers a regularizer acts on, as its `where`.

>>> import temperance as tp
>>> tp.L2(1e-3, where=tp.selectors.Named("encoder.*"))
L2(lam=0.001, where=Named(pattern='encoder.*'))
>>> tp.Dropout(0.2, where=tp.selectors.Last(tp.selectors.Hidden()))
Dropout(rate=0.2, input_rate=0.0, where=Last(of=Hidden()))
"""

from temperance.core.choice import First, Last, OneOf
from temperance.core.selector import AllParameters, Hidden, Named, OfType, Selector, Weights, outputs_of

__all__ = ["AllParameters", "First", "Hidden", "Last", "Named", "OfType", "OneOf", "Selector", "Weights", "outputs_of"]
