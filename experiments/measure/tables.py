"""The committed tables by name."""

import results
from experiments.run.errors import UserError
from experiments.run.toml import file_of, names, read_toml


def table_names() -> list[str]:
    """Names of the committed tables."""
    return names("tables")


def load_table(name: str) -> results.Table:
    """The table of that name. Raises UserError for unknown names and for a TOML that does not describe a table."""
    file = file_of("tables", name)
    try:
        return results.table_from_dict(read_toml(file))
    except ValueError as error:
        raise UserError(f"{file.name}: {error}") from error
