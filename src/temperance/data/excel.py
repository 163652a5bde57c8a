"""Excel files: the first sheet, with names in its first row."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
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
        unknown = _uncalculated(path) if cells.empty or cells.isna().any(axis=None) else []
    except Exception as error:  # whatever is raised for a damaged archive
        mend = "Save the file again as .xlsx or CSV."
        raise DataError(f"Expected `{what}` to be an Excel file, got {str(path)!r}: {type(error).__name__}: {str(error).rstrip('.')}. {mend}") from error
    if any(row == 0 for row, _ in unknown):
        mend = "Open it in a spreadsheet and save it, or write the names as text."
        raise DataError(f"Expected `{what}` to have a row of names, got formulas that no spreadsheet has calculated in the first row of {str(path)!r}. {mend}")
    if cells.empty:
        raise DataError(f"Expected `{what}` to have a row of names and rows, got an empty first sheet in {str(path)!r}. Move the table there.")
    names = ["" if pd.isna(name) else name for name in cells.iloc[0]]
    frame = cells.iloc[1:].reset_index(drop=True)
    frame.columns = pd.Index(names, dtype=object)
    notes = [f"sheet `{sheets[0]}` was read, the first of {len(sheets)}"] if len(sheets) > 1 else []
    for column, count in sorted(Counter(column for _, column in unknown if column < len(names)).items()):
        many = "a formula" if count == 1 else f"{count:,} formulas"
        notes.append(f"`{names[column]}` has {many} that no spreadsheet has calculated, read as missing; open the file in one and save it to have the values")
    return frame, notes


def _uncalculated(path: Path) -> list[tuple[int, int]]:
    """Rows and columns of the cells of the first sheet that hold a formula without its value; a result of no characters is one."""
    from openpyxl import load_workbook

    with closing(load_workbook(path, read_only=True)) as written, closing(load_workbook(path, read_only=True, data_only=True)) as known:
        pairs = zip(written.worksheets[0].iter_rows(), known.worksheets[0].iter_rows(), strict=True)
        return [
            (i, j)
            for i, (formulas, values) in enumerate(pairs)
            for j, (formula, value) in enumerate(zip(formulas, values, strict=True))
            if formula.data_type == "f" and value.value is None and value.data_type != "str"
        ]
