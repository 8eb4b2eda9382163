//! Nothing. This crate is its test: that our log on PostgreSQL is one that postgres-es can read.
