//! Terminal output: tables, stdout, Ctrl-C.

pub mod assertion_table;
pub mod concept_table;
pub mod detail;
pub mod interrupt;
pub mod score_table;
pub mod stdout;
