//! One module per subcommand: each reads its arguments, calls the libraries and prints.

pub mod active;
pub mod annotate;
pub mod assert;
pub mod convert;
pub mod data;
pub mod doctor;
pub mod eval;
pub mod link;
pub mod package;
pub mod pretrain;
pub mod push;
pub mod reference;
pub mod runs;
pub mod score;
mod seed_table;
pub mod serve;
pub mod sweep;
pub mod train;
pub mod vocabulary;
pub mod worker;
