"""Everything that has a name, as rows: the registry of regularizers, and what stands around them."""

from temperance.catalogue.entries import ENTRIES
from temperance.catalogue.entry import KINDS, Entry
from temperance.catalogue.listing import as_listed, find, rows

__all__ = ["ENTRIES", "KINDS", "Entry", "as_listed", "find", "rows"]
