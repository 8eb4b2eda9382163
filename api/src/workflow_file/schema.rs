//! The JSON Schema of a workflow file, for editors. The reader does not use it; a test holds the two to
//! the same examples.

/// JSON Schema, draft 2020-12.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
pub(super) mod tests;
