"""The report: one self-contained page about one fit, drawn by ``temperance.report.page.render``."""

__all__: list[str] = []  # its modules hold the names
