"""Measured and reported results: run records, and the tables that are made from them."""

from results.ablation import ABLATION_COLUMNS, ablation_files
from results.costs import CostRecord, append_cost, read_costs
from results.leaderboard import LEADERBOARD_COLUMNS, leaderboard_files
from results.provenance import git_commit, hardware, portable, run_id, source_digest, utc_now, versions
from results.records import Record, append_record, read_records
from results.rendering import render_csv, render_files, render_latex, render_markdown, write_tables
from results.tables import COLUMNS, MeasuredRow, ReportedRow, Table, answering, table_from_dict, with_run

__all__ = [
    "ABLATION_COLUMNS",
    "COLUMNS",
    "LEADERBOARD_COLUMNS",
    "CostRecord",
    "MeasuredRow",
    "Record",
    "ReportedRow",
    "Table",
    "ablation_files",
    "answering",
    "append_cost",
    "append_record",
    "git_commit",
    "hardware",
    "leaderboard_files",
    "portable",
    "read_costs",
    "read_records",
    "render_csv",
    "render_files",
    "render_latex",
    "render_markdown",
    "run_id",
    "source_digest",
    "table_from_dict",
    "utc_now",
    "versions",
    "with_run",
    "write_tables",
]
