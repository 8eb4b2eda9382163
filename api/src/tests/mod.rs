//! Claims about the doors, over HTTP, with real runs of the domain, a real log and real read tables.

mod events;
mod instances;
mod logs;
mod pretend;
mod refusals;
mod service;
mod workflows;
mod world;
