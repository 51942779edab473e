//! SQL in the words of the engines that read the tables.

/// An engine's SQL.
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
    /// A name that may be a word of the language, such as `time`, which Hive reserves.
    #[must_use]
    pub fn quoted(self, name: &str) -> String {
        match self {
            Self::Hive | Self::Spark => format!("`{name}`"),
            Self::Trino | Self::DuckDb => format!("\"{name}\""),
        }
    }

    /// A text as a literal.
    #[must_use]
    pub fn literal(self, text: &str) -> String {
        match self {
            Self::Hive | Self::Spark => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
            Self::Trino | Self::DuckDb => format!("'{}'", text.replace('\'', "''")),
        }
    }
}

/// The name of a topic's table: engines take a dot for the end of a schema's name.
#[must_use]
pub fn table_name(topic: &str) -> String {
    topic.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_texts() {
        assert_eq!(Dialect::Spark.literal(r"a client's \n"), r"'a client\'s \\n'");
        assert_eq!(Dialect::Trino.literal(r"a client's \n"), r"'a client''s \n'");
    }
}
