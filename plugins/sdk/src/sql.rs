//! SQL syntax of the engines that read the tables.

/// The SQL dialect of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Apache Hive, 3 or later.
    Hive,
    /// Spark SQL.
    Spark,
    /// Trino, with its Hive connector.
    Trino,
    /// DuckDB.
    DuckDb,
}

impl Dialect {
    /// Quotes an identifier, which may be a reserved word, such as `time` in Hive.
    #[must_use]
    pub fn quoted(self, name: &str) -> String {
        match self {
            Self::Hive | Self::Spark => format!("`{name}`"),
            Self::Trino | Self::DuckDb => format!("\"{name}\""),
        }
    }

    /// Returns a text as a string literal.
    #[must_use]
    pub fn literal(self, text: &str) -> String {
        match self {
            Self::Hive | Self::Spark => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
            Self::Trino | Self::DuckDb => format!("'{}'", text.replace('\'', "''")),
        }
    }
}

/// Returns the name of a topic's table. Dots become `_`, because engines read a dot as the end of a schema name.
#[must_use]
pub fn table_name(topic: &str) -> String {
    topic.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_escape_quotes_and_backslashes() {
        assert_eq!(Dialect::Spark.literal(r"a client's \n"), r"'a client\'s \\n'");
        assert_eq!(Dialect::Trino.literal(r"a client's \n"), r"'a client''s \n'");
    }
}
