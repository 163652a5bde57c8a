"""Excel files: the first sheet, with names in its first row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from temperance.core.errors import DataError

SUFFIXES = (".xlsx", ".xlsm")


def read_excel(path: Path, what: str = "data") -> tuple[pd.DataFrame, list[str]]:
    """The first sheet of a file as a frame of Python's values, and what is to be said of it.

    Raises:
        DataError: openpyxl is not installed, or the file cannot be read.
    """
    try:
        import openpyxl
    except ImportError:
        mend = "Install it with: pip install 'temperance[excel]', or save the sheet as CSV."
        raise DataError(f"Expected openpyxl to be installed to read the Excel file {str(path)!r}. {mend}") from None
    del openpyxl
    try:
        with pd.ExcelFile(path, engine="openpyxl") as file:
            sheets = [str(name) for name in file.sheet_names]
            cells = pd.read_excel(file, header=None, dtype=object, keep_default_na=False, na_values=[""])
    except Exception as error:  # whatever is raised for a damaged archive
        mend = "Save the file again as .xlsx or CSV."
        raise DataError(f"Expected `{what}` to be an Excel file, got {str(path)!r}: {type(error).__name__}: {str(error).rstrip('.')}. {mend}") from error
    if cells.empty:
        raise DataError(f"Expected `{what}` to have a row of names and rows, got an empty first sheet in {str(path)!r}. Move the table there.")
    names = ["" if pd.isna(name) else name for name in cells.iloc[0]]
    frame = cells.iloc[1:].reset_index(drop=True)
    frame.columns = pd.Index(names, dtype=object)
    return frame, [f"sheet `{sheets[0]}` was read, the first of {len(sheets)}"] if len(sheets) > 1 else []
