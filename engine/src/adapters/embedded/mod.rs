//! One process, one data directory: SQLite for rows and messages, files for objects.
