"""The contract: regularizers, cocktails, strengths, selectors, keys, programs. It knows no regularizer."""

__all__: list[str] = []  # its modules hold the names
