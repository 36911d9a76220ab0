"""Rows of flat tables into Parquet files, one a table, whatever their number.

Law: a folder holds a whole export or none: files are written beside their names and renamed at the end, and one
that holds an export already is refused. Memory is bounded by a batch of rows a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from paritygate.schemas.errors import ConfigError

#: Rows that are kept before they are written as one row group.
BATCH_ROWS: Final = 50_000
_TYPES: Final[Mapping[str, Any]] = {
    "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_(), "string": pa.string(),
    "map string": pa.map_(pa.string(), pa.string()), "map int64": pa.map_(pa.string(), pa.int64()),
    "map double": pa.map_(pa.string(), pa.float64()),
}  # fmt: skip


class ParquetFolder:
    """``DIR/TABLE.parquet`` for every table, zstd. Use it as a context; what raised leaves no file.

    ``tables``: column types by table, see :data:`paritygate.cli.flat.TABLES`.

    :raises ConfigError: the folder holds one of the files already.
    """

    def __init__(self, folder: Path, tables: Mapping[str, Mapping[str, str]]) -> None:
        there = [name for name in tables if (folder / f"{name}.parquet").exists()]
        if there:
            raise ConfigError(f"{folder} holds {there[0]}.parquet already: name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._schemas = {
            t: pa.schema([(c, _TYPES[k]) for c, k in columns.items()]) for t, columns in tables.items()
        }
        self._writers = {
            t: pq.ParquetWriter(self._beside(t), schema, compression="zstd") for t, schema in self._schemas.items()
        }
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in tables}
        self.written = dict.fromkeys(tables, 0)

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Take one row."""
        rows = self._rows[table]
        rows.append(row)
        self.written[table] += 1
        if len(rows) >= BATCH_ROWS:
            self._flush(table)

    def _flush(self, table: str) -> None:
        rows, self._rows[table] = self._rows[table], []
        if rows:
            self._writers[table].write_table(pa.Table.from_pylist(rows, schema=self._schemas[table]))

    def _beside(self, table: str) -> Path:
        return self._folder / f".{table}.parquet.part"

    def __enter__(self) -> ParquetFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for table, writer in self._writers.items():
            if error is None:
                self._flush(table)
            writer.close()
        for table in self._writers:
            if error is None:
                self._beside(table).rename(self._folder / f"{table}.parquet")
            else:
                self._beside(table).unlink()
