"""The report: one self-contained page about one fit, drawn by ``temperance.report.page.render``."""
