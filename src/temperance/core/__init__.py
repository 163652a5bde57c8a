"""The contract: regularizers, cocktails, strengths, selectors, keys, programs. It knows no regularizer."""
