"""Answers with the DuckDB of the Python that runs this: a JSON list of SQL on standard input; of each, the rows or the error."""

import json
import sys

import duckdb


def main():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")

    def answer(sql):
        try:
            return connection.execute(sql).fetchall()
        except duckdb.Error as error:
            return str(error)

    json.dump([duckdb.__version__] + [answer(sql) for sql in json.load(sys.stdin)], sys.stdout, default=str)


main()
