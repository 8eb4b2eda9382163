//! Whole-service scenarios with the real binary, and claims about the shape of the house.

mod architecture;
mod bad_files;
mod bench;
mod chaos;
mod command_line;
mod crash;
mod examples;
mod scenarios;
mod serving;
